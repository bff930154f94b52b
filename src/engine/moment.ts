/** Moments on the command line, in docker's notation. Pure. */
import { UsageError } from './usage-error.ts';

const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
const dateTime = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.(\d{1,9}))?)?(?:Z|[+-]\d{2}:\d{2})?)?$/;

/**
 * `2026-01-31T12:00:00Z` (without a zone: the local time), seconds since 1970, or how long ago: `90s`, `1h30m`.
 * @returns RFC 3339, UTC, with nanoseconds
 * @throws UsageError
 */
export function parseMoment(option: string, text: string, nowMs: number): string {
  if (/^\d+(?:\.\d+)?$/.test(text)) return nanoseconds(Number(text) * 1000);
  if (/^(?:\d+(?:\.\d+)?[smhd])+$/.test(text)) {
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
    return nanoseconds(nowMs - parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit!]! * 1000, 0));
  }
  const match = dateTime.exec(text);
  const ms = match ? Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new UsageError(
      `${option} '${text}' is no time: give 2026-01-31T12:00:00Z, seconds since 1970, or 10m for ten minutes ago`,
    );
  const fraction = match![1];
  return fraction === undefined ? nanoseconds(ms) : nanoseconds(ms).replace(/\.\d+/, `.${fraction.padEnd(9, '0')}`);
}

const nanoseconds = (ms: number): string => new Date(ms).toISOString().replace('Z', '000000Z');
