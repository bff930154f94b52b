/** The question before something is removed for good. */
import { createInterface } from 'node:readline/promises';
import { ContainerError } from '../core/kernel/error.ts';

/** As docker asks; the end of standard input is a no. */
export async function confirmed(what: string): Promise<boolean> {
  return await isYes(`This will remove all ${what}.`);
}

/** Throws ContainerError where standard input is no terminal: a script is to say -f. */
export async function confirmedAtTerminal(warning: string): Promise<boolean> {
  if (process.stdin.isTTY) return await isYes(warning);
  throw new ContainerError('standard input is no terminal to ask at: nothing was removed', {
    hint: '-f removes without asking',
    exitCode: 1,
  });
}

async function isYes(warning: string): Promise<boolean> {
  process.stdout.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    lines.close();
    return /^y(es)?$/i.test(line.trim());
  }
  return false;
}
