import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSize, parseWhole } from '../../../src/engine/sizes.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';
import { problemOf } from './support.ts';

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['1024', 1024],
    ['1024b', 1024],
    ['64k', 65_536],
    ['64K', 65_536],
    ['64m', 67_108_864],
    ['64MB', 67_108_864],
    ['64MiB', 67_108_864],
    ['64 m', 67_108_864],
    ['1.5g', 1_610_612_736],
    ['.5k', 512],
    ['1.k', 1024],
    ['1.9', 1],
    ['2t', 2_199_023_255_552],
    ['1p', 1_125_899_906_842_624],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize('--memory', text)).toBe(bytes);
  });

  it.each(['', ' ', 'm', '-1', '-1m', '+1', '1x', '1bb', '1ib', '1 mm', '1e3', '0x10', '1,5g', '64m ', '.', '٣'])(
    "'%s' is not a size",
    (text) => {
      expect(problemOf(() => parseSize('--memory', text))).toContain(`--memory '${text}' is not a size`);
    },
  );

  it('refuses what a JavaScript number holds no longer exactly', () => {
    expect(parseSize('--memory', '9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
    expect(problemOf(() => parseSize('--memory', '9007199254740992'))).toContain('too large');
    expect(problemOf(() => parseSize('--memory', '8192t'))).toContain('too large');
    expect(parseSize('--memory', '8191t')).toBe(8191 * 1024 ** 4);
  });

  it('is exact for every whole number and unit', () => {
    const unit = fc.constantFrom(['', 0], ['b', 0], ['k', 1], ['mb', 2], ['GiB', 3], ['T', 4]) as fc.Arbitrary<
      [string, number]
    >;
    fc.assert(
      fc.property(fc.nat({ max: 8000 }), unit, fc.boolean(), (n, [suffix, power], space) => {
        const expected = BigInt(n) * 1024n ** BigInt(power);
        expect(BigInt(parseSize('x', `${n}${space && suffix ? ' ' : ''}${suffix}`))).toBe(expected);
      }),
    );
  });

  it('gives a whole number of bytes or an error for any text', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,20} ?[bkmgtpiBKMGTPI]{0,3}$/));
    fc.assert(
      fc.property(text, (value) => {
        try {
          const bytes = parseSize('x', value);
          expect(Number.isSafeInteger(bytes) && bytes >= 0).toBe(true);
          expect(value).toMatch(/^[\d.]/);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('parseWhole', () => {
  it('reads numbers in its range', () => {
    expect(parseWhole('x', '0', 0, 9)).toBe(0);
    expect(parseWhole('x', '9', 0, 9)).toBe(9);
  });

  it.each(['', '10', '-1', '+1', '01', '1.0', '1e0', ' 1', '0x1'])("refuses '%s'", (text) => {
    expect(problemOf(() => parseWhole('--n', text, 0, 9))).toBe(`--n '${text}' is not a whole number from 0 to 9`);
  });
});
