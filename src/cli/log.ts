/** The one importer of pino, loaded only when something is logged: it costs 16 ms. */
import { type Logger, pino } from 'pino';
import type { Globals } from './globals.ts';

export function logger(globals: Globals): Logger {
  const level = globals.debug ? 'debug' : 'info';
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
