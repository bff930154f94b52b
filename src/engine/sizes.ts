/** Sizes and plain numbers on the command line, in docker's notation. Pure. */
import { UsageError } from './usage-error.ts';

const size = /^(\d+(?:\.\d*)?|\.\d+) ?(?:b|([kmgtp])(?:i?b)?)?$/i;
const powers = ['k', 'm', 'g', 't', 'p'];

/**
 * Reads a size such as `64m`, `1.5g`, `512KiB` or `1024`; the units are powers of 1024.
 * @returns bytes, rounded down
 * @throws UsageError when it is not a size, or above 2^53 - 1
 */
export function parseSize(option: string, text: string): number {
  const match = size.exec(text);
  if (!match) {
    throw new UsageError(`${option} '${text}' is not a size: give a number and one of b, k, m, g, t, p, such as 64m`);
  }
  const power = match[2] === undefined ? 0 : powers.indexOf(match[2].toLowerCase()) + 1;
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  if (bytes > Number.MAX_SAFE_INTEGER) throw new UsageError(`${option} '${text}' is too large: at most 8191t`);
  return bytes;
}

/**
 * Reads a whole decimal number, without sign, leading zeros, spaces or exponent.
 * @throws UsageError when it is anything else, or outside of min and max
 */
export function parseWhole(option: string, text: string, min: number, max: number): number {
  const value = /^(?:0|[1-9]\d*)$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${option} '${text}' is not a whole number from ${min} to ${max}`);
}
