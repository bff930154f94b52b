/** Again, after a while, when it may go well then. Host side. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryError } from './failure.ts';
import type { RegistrySettings } from './settings.ts';

/** Calls `attempt` until it returns or throws something lasting. A last error says how often it was tried. */
export async function withRetries<T>(
  settings: RegistrySettings,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      await waitBefore(error, failures, settings, signal);
    }
  }
}

/** After `failures` attempts that failed, the last with `error`: waits for the next one, or throws the error. */
export async function waitBefore(
  error: unknown,
  failures: number,
  { tries, backoffMs, mostWaitMs }: RegistrySettings,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!(error instanceof RegistryError) || !error.transient) throw error;
  const backoff = backoffMs * 2 ** (failures - 1) * (1 + Math.random() / 2);
  const waitMs = error.retryAfterMs ?? Math.min(mostWaitMs, backoff);
  if (failures >= tries || waitMs > mostWaitMs) throw failures === 1 ? error : error.after(failures);
  await sleep(waitMs, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
}
