/** --debug: every system call of the stage, to the log. */
import { writeSync } from 'node:fs';
import { formatCall } from '../core/stage/format.ts';
import type { Observer } from '../core/stage/stage.ts';
import type { Globals } from './globals.ts';

export async function debugObserver(globals: Globals): Promise<Observer> {
  if (globals.logFormat === 'json') {
    const { logger } = await import('./log.ts');
    const log = logger(globals);
    return ({ step, name, args, result, durationMs }) =>
      log.debug({ step: step.id, syscall: name, result, durationMs }, formatCall(name, args));
  }
  // Not process.stderr: Node would make a pipe non-blocking, for the container too.
  return ({ step, name, args, result }) =>
    writeSync(2, `${step.id.padEnd(24)} ${formatCall(name, args)} = ${result ?? '?'}\n`);
}
