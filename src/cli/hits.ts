/** Limits that were hit, told at the end on standard error. */
import { writeSync } from 'node:fs';
import type { Hit } from '../engine/hits.ts';
import type { Globals } from './globals.ts';

export async function printHits(hits: readonly Hit[], globals: Globals): Promise<void> {
  if (globals.logFormat === 'json') {
    const { logger } = await import('./log.ts');
    const log = logger(globals);
    for (const { limit, text, facts } of hits) log.warn({ limit, ...facts }, text);
  } else for (const { text } of hits) writeSync(2, `tinyctr: ${text}\n`);
}
