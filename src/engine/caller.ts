/** Who called tinyctr by sudo. Pure. */
import { UsageError } from './usage-error.ts';

/** Who called sudo. @throws UsageError if nobody did */
export function callerOf(env: NodeJS.ProcessEnv): { uid: number; gid: number } {
  const [uid, gid] = [Number(env.SUDO_UID), Number(env.SUDO_GID)];
  if (uid > 0 && gid > 0) return { uid, gid };
  throw new UsageError("--userns keep-id keeps the caller's ids, and the caller is root: call it by sudo as the user");
}
