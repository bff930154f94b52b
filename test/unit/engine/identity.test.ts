import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkGroup,
  checkHostname,
  checkName,
  checkUser,
  parseLabel,
  parseSignal,
} from '../../../src/engine/identity.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';
import { problemOf } from './support.ts';

describe('checkUser', () => {
  it.each([
    'root',
    '0',
    '1000',
    '4294967294',
    '1000:1000',
    'nobody:nogroup',
    'nobody:65534',
    '1:tty',
    '_apt',
    'www-data',
    'svc$',
    'first.last',
  ])('takes %s', (text) => {
    expect(checkUser('--user', text)).toBe(text);
  });

  it.each([
    ...['', ':', '0:', ':0', 'root:', ':root', '0:0:0', 'a:b:c', '4294967295', '0:4294967295', '18446744073709551616'],
    ...['-1', '+0', '00', '007', '0x0', '1e3', '1.0', ' 0', '0 ', '0\n', 'root\n', 'ro ot', '-root', '0:-1', '1a'],
    ...['root\0', '٠', 'ｒoot', '$', 'root:0:'],
  ])('refuses %j', (text) => {
    expect(problemOf(() => checkUser('--user', text))).toContain('is not user[:group]');
  });

  /** The grammar again, written without regular expressions. */
  function isExact(text: string): boolean {
    const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_';
    const isPart = (part: string): boolean => {
      if (part === '') return false;
      if ([...part].every((c) => '0123456789'.includes(c))) {
        return String(BigInt(part)) === part && BigInt(part) < 2n ** 32n - 1n;
      }
      const body = part.length > 1 && part.endsWith('$') ? part.slice(0, -1) : part;
      const first = body[0] ?? '';
      return (
        body.length <= 64 && letters.includes(first) && [...body].every((c) => `${letters}0123456789.@-`.includes(c))
      );
    };
    const parts = text.split(':');
    return parts.length <= 2 && parts.every(isPart);
  }

  it('returns exactly what was given, or throws, for any text', () => {
    const part = fc.oneof(
      fc.bigInt({ min: -2n, max: 2n ** 33n }).map(String),
      fc.stringMatching(/^[a-z_0-9.@$ +-]{0,6}$/),
      fc.string({ maxLength: 4 }),
    );
    const text = fc.oneof(
      fc.string(),
      part,
      fc.tuple(part, part).map((parts) => parts.join(':')),
      fc.array(part, { maxLength: 4 }).map((parts) => parts.join(':')),
    );
    fc.assert(
      fc.property(text, (value) => {
        let accepted = true;
        try {
          expect(checkUser('--user', value)).toBe(value);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          accepted = false;
        }
        expect(accepted).toBe(isExact(value));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('checkGroup', () => {
  it('takes one name or id', () => {
    expect(checkGroup('audio')).toBe('audio');
    expect(checkGroup('29')).toBe('29');
  });

  it.each(['', 'a:b', '-1', '4294967295', 'a b'])("refuses '%s'", (text) => {
    expect(problemOf(() => checkGroup(text))).toContain(`--group-add '${text}'`);
  });
});

describe('checkHostname', () => {
  it.each(['a', 'web1', 'web-1.example.org', 'my_host', 'x'.repeat(63)])('takes %s', (text) => {
    expect(checkHostname(text)).toBe(text);
  });

  it.each(['', '-a', 'a-', 'a..b', '.a', 'a.', 'a b', 'a/b', 'ä', 'x'.repeat(64), 'a\n', `${'ab.'.repeat(21)}ab`])(
    'refuses %j',
    (text) => {
      expect(problemOf(() => checkHostname(text))).toContain('is not a host name');
    },
  );
});

describe('checkName', () => {
  it.each(['web', 'web_1.x-y', '1a'])('takes %s', (text) => {
    expect(checkName(text)).toBe(text);
  });

  it.each(['', 'a', '-web', '.web', '_web', 'a/b', '../x', 'a b', 'x'.repeat(129)])("refuses '%s'", (text) => {
    expect(problemOf(() => checkName(text))).toContain('is not a container name');
  });
});

describe('parseLabel', () => {
  it.each([
    ['a=b', ['a', 'b']],
    ['a=b=c', ['a', 'b=c']],
    ['a', ['a', '']],
    ['a=', ['a', '']],
  ])('reads %s', (text, expected) => {
    expect(parseLabel(text)).toEqual(expected);
  });

  it.each(['', '=b', ' =b'])("refuses '%s'", (text) => {
    expect(problemOf(() => parseLabel(text))).toContain('has no key');
  });
});

describe('parseSignal', () => {
  it.each([
    ['SIGTERM', 15],
    ['term', 15],
    ['sigquit', 3],
    ['9', 9],
    ['64', 64],
    ['SIGRTMIN', 34],
    ['RTMIN+3', 37],
    ['SIGRTMAX', 64],
    ['RTMAX-30', 34],
  ])('%s is %d', (text, number) => {
    expect(parseSignal('--stop-signal', text)).toBe(number);
  });

  it.each(['', '0', '65', '-9', '09', 'SIG', 'SIGNOPE', 'RTMIN+31', 'RTMAX-31', 'TERM ', '1.5', '__proto__'])(
    "refuses '%s'",
    (text) => {
      expect(problemOf(() => parseSignal('--stop-signal', text))).toContain(`--stop-signal '${text}' is not a signal`);
    },
  );

  it('names what was probably meant', () => {
    expect(problemOf(() => parseSignal('--stop-signal', 'SIGTERN'))).toContain('did you mean SIGTERM');
  });
});
