/** --restart: whether a container comes back, and after what pause. As docker's; times are on clocks that nobody sets. */
import type { ContainerRecord } from '../engine/containers.ts';
import { comesBack } from '../engine/restart-policy.ts';
import type { RestartPolicy } from '../engine/stored-file.ts';

/** Doubled with every start that did not last; after one that ran for LASTING_MS it begins anew. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 60_000;
const LASTING_MS = 10_000;
/** What counts as the exit status of a container that ran when the machine went down. */
export const LOST = 255;

/**
 * After the machine was started anew. `always` means those as well that somebody had stopped, `unless-stopped` does not; what
 * nobody has started yet waits for somebody who does.
 */
export function comesBackAtBoot(
  policy: RestartPolicy,
  { started, stopped, ended, restarts = 0 }: ContainerRecord,
): boolean {
  if (started === undefined) return false;
  if (stopped && policy.name !== 'always') return false;
  return comesBack(policy, ended?.exitCode ?? LOST, restarts);
}

/** Milliseconds before the next start, after a run of `lastedMs` that began after a pause of `lastMs`. */
export function nextPause(lastMs: number | undefined, lastedMs: number): number {
  if (lastMs === undefined || lastedMs >= LASTING_MS) return FIRST_PAUSE_MS;
  return Math.min(lastMs * 2, LONGEST_PAUSE_MS);
}

/** CLOCK_MONOTONIC in milliseconds: the same for every process of a boot. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

/** From now; never longer than any pause is, whatever a file says. */
export const msUntil = (dueMs: number): number => Math.max(0, Math.min(dueMs - monotonicMs(), LONGEST_PAUSE_MS));
