import { describe, expect, it } from 'vitest';
import { didYouMean, nearMisses } from '../../../src/engine/nearest.ts';
import { Problems, UsageError } from '../../../src/engine/usage-error.ts';

const fail = (text: string) => {
  throw new UsageError(text);
};

describe('UsageError', () => {
  it('has one line per problem', () => {
    const error = new UsageError(['a is wrong', 'b is wrong']);
    expect(error.message).toBe('a is wrong\nb is wrong');
    expect(error.problems).toEqual(['a is wrong', 'b is wrong']);
    expect(error.name).toBe('UsageError');
  });
});

describe('Problems', () => {
  it('collects every problem in order and throws them together', () => {
    const problems = new Problems();
    expect(problems.attempt(() => fail('first'), 7)).toBe(7);
    problems.add('second');
    expect(problems.each([1, 2, 3], (n) => (n === 2 ? fail('third') : n))).toEqual([1, 3]);
    expect(() => problems.throwIfAny()).toThrow(new UsageError(['first', 'second', 'third']));
  });

  it('throws nothing when there is nothing', () => {
    const problems = new Problems();
    expect(problems.attempt(() => 1, 2)).toBe(1);
    expect(() => problems.throwIfAny()).not.toThrow();
  });

  it('lets other errors through', () => {
    const broken = () => {
      throw new TypeError('a mistake in the program');
    };
    expect(() => new Problems().attempt(broken, 0)).toThrow(TypeError);
  });
});

describe('nearMisses', () => {
  const known = ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN', 'CAP_KILL'];

  it('finds words two letters away or less, nearest first', () => {
    expect(nearMisses('CAP_NETADMIN', known)).toEqual(['CAP_NET_ADMIN']);
    expect(nearMisses('cap_kil', known)).toEqual(['CAP_KILL']);
  });

  it('finds words of which it is a part', () => {
    expect(nearMisses('ADMIN', known)).toEqual(['CAP_SYS_ADMIN', 'CAP_NET_ADMIN'].sort());
  });

  it('says nothing about words that are far away', () => {
    expect(nearMisses('potato', known)).toEqual([]);
    expect(didYouMean('potato', known)).toBe('');
  });
});
