import { describe, expect, test } from 'vitest';
import { enosysPrologue, programFault } from '../../../src/seccomp/bpf.ts';
import { ARCH, verdict } from '../../support/bpf.ts';

const X32 = 0x40000000;
const retAllow = Buffer.from([0x06, 0, 0, 0, 0, 0, 0xff, 0x7f]);

function instruction(code: number, jt: number, jf: number, k: number): number[] {
  return [code & 0xff, code >> 8, jt, jf, k & 0xff, (k >> 8) & 0xff, (k >> 16) & 0xff, (k >>> 24) & 0xff];
}

function answers(prologue: Buffer, arch: number, numbers: number[]): string[] {
  return numbers.map((nr) => verdict(Buffer.concat([prologue, retAllow]), { nr, arch }));
}

describe('enosysPrologue', () => {
  const full = enosysPrologue([
    { auditArch: ARCH.x64, last: 449, lastX32: X32 + 547 },
    { auditArch: ARCH.i386, last: 450 },
  ]);

  test('answers what is newer than the last number of each architecture', () => {
    expect(answers(full, ARCH.x64, [0, 449, 450, 999, 0x3fffffff])).toEqual([
      'allow',
      'allow',
      'errno 38',
      'errno 38',
      'errno 38',
    ]);
    expect(answers(full, ARCH.i386, [0, 449, 450, 451])).toEqual(['allow', 'allow', 'allow', 'errno 38']);
  });

  test('knows x32 by its bit, with a last number of its own', () => {
    expect(answers(full, ARCH.x64, [X32, X32 + 547, X32 + 548])).toEqual(['allow', 'allow', 'errno 38']);
  });

  test('leaves x32 to the filter when it is not part of it', () => {
    const prologue = enosysPrologue([{ auditArch: ARCH.x64, last: 449 }]);
    expect(answers(prologue, ARCH.x64, [449, 450, X32, X32 + 999])).toEqual(['allow', 'errno 38', 'allow', 'allow']);
  });

  test('leaves other architectures to the filter', () => {
    expect(answers(full, ARCH.arm64, [0, 999])).toEqual(['allow', 'allow']);
  });

  test('is empty without architectures', () => {
    expect(enosysPrologue([])).toHaveLength(0);
  });

  test('is a well-formed program once a filter follows', () => {
    expect(programFault(Buffer.concat([full, retAllow]))).toBeUndefined();
    expect(programFault(full)).toMatch(/jump at \d+ leaves the program|the end is not a return/);
  });
});

describe('programFault', () => {
  const ret = instruction(0x06, 0, 0, 0);

  test.each([
    ['a return', [...ret], undefined],
    ['a jump to the last instruction', [...instruction(0x15, 1, 0, 5), ...ret, ...ret], undefined],
    ['nothing', [], '0 bytes are no whole instructions'],
    ['half an instruction', ret.slice(0, 4), '4 bytes are no whole instructions'],
    ['zeros', new Array(64).fill(0), 'the end is not a return'],
    ['no return at the end', [...ret, ...instruction(0x20, 0, 0, 0)], 'the end is not a return'],
    ['a true branch behind the end', [...instruction(0x15, 1, 0, 5), ...ret], 'the jump at 0 leaves the program'],
    ['a false branch behind the end', [...instruction(0x45, 0, 1, 5), ...ret], 'the jump at 0 leaves the program'],
    ['a long jump behind the end', [...instruction(0x05, 0, 0, 1), ...ret], 'the jump at 0 leaves the program'],
    ['the longest jump', [...instruction(0x05, 0, 0, 0xffffffff), ...ret], 'the jump at 0 leaves the program'],
    ['a load behind seccomp_data', [...instruction(0x20, 0, 0, 64), ...ret], 'the load at 0 misses seccomp_data'],
    ['a load off its word', [...instruction(0x20, 0, 0, 2), ...ret], 'the load at 0 misses seccomp_data'],
  ])('%s', (_what, bytes, fault) => {
    expect(programFault(Uint8Array.from(bytes))).toBe(fault);
  });

  test('the largest program, and one more instruction', () => {
    expect(programFault(Buffer.concat(new Array(4096).fill(retAllow)))).toBeUndefined();
    expect(programFault(Buffer.concat(new Array(4097).fill(retAllow)))).toBe(
      '4097 instructions, the kernel takes 4096',
    );
  });
});
