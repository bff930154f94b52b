/** Whether a container's restart policy brings it back. Pure. */
import type { RestartPolicy } from './stored-file.ts';

/** After its end with `code`, when its policy has brought it back `restarts` times since somebody started it. */
export function comesBack({ name, maxRetries }: RestartPolicy, code: number, restarts: number): boolean {
  if (name === 'no') return false;
  if (name !== 'on-failure') return true;
  return code !== 0 && (maxRetries === 0 || restarts < maxRetries);
}
