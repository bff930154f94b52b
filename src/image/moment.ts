/** Moments as docker takes them on the command line. Pure. */

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `24h` or `1h30m` before `now`, seconds since 1970, or a date. In milliseconds since 1970; undefined for anything else. */
export function parseMoment(text: string, now: number): number | undefined {
  if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text))
    return [...text.matchAll(/([0-9.]+)(ms|s|m|h)/g)].reduce((at, [, n, unit]) => at - Number(n) * units[unit!]!, now);
  const moment = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  return Number.isNaN(moment) ? undefined : moment;
}
