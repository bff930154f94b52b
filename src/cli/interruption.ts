/** Ctrl-C and its like for work that can end in order: an AbortSignal with the reason as an error. */
import { ContainerError } from '../core/kernel/error.ts';

/** Exit statuses as a shell has them: 128 and the signal's number. */
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A first signal ends the work in order, a second one at once: the store stands it. `what`: "the pull of alpine". */
export function untilInterrupted(what: string, hint: string): { signal: AbortSignal; forget: () => void } {
  const controller = new AbortController();
  const listeners = Object.entries(signals).map(([signal, exitCode]) => {
    const listener = () => {
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort(new ContainerError(`${what} was interrupted`, { exitCode, hint }));
    };
    process.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    signal: controller.signal,
    forget: () => {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
