/** The question before something is removed for good. */
import { createInterface } from 'node:readline/promises';

/** As docker asks; the end of standard input is a no. */
export async function confirmed(what: string): Promise<boolean> {
  process.stdout.write(`WARNING! This will remove all ${what}.\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    lines.close();
    return /^y(es)?$/i.test(line.trim());
  }
  return false;
}
