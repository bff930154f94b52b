/** --debug: every system call of the stage, to the log. */

import { formatCall } from '../core/stage/format.ts';
import type { Observer } from '../core/stage/stage.ts';
import type { Globals } from './globals.ts';

export async function debugObserver(globals: Globals): Promise<Observer> {
  const { logger } = await import('./log.ts');
  const log = logger(globals);
  if (globals.logFormat === 'json')
    return ({ step, name, args, result, durationMs }) =>
      log.debug({ step: step.id, syscall: name, result, durationMs }, formatCall(name, args));
  return ({ step, name, args, result }) =>
    writeSync(2, `${step.id.padEnd(24)} ${formatCall(name, args)} = ${result}\n`); // not process.stderr: Node would make it non-blocking for the container
}
