import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceRule, defaultDeviceRules, deviceProgram } from '../../../../src/core/plan/device-rules.ts';

interface Request {
  type: 'b' | 'c';
  major: number;
  minor: number;
  /** r, w and m: an open for reading and writing asks for both at once. */
  access: string;
}

/** What BPF_PROG_TYPE_CGROUP_DEVICE gets in r1: struct bpf_cgroup_dev_ctx. */
function context({ type, major, minor, access }: Request): DataView {
  const bits = [...access].reduce((all, letter) => all | { m: 1, r: 2, w: 4 }[letter]!, 0);
  const view = new DataView(new ArrayBuffer(12));
  view.setUint32(0, (bits << 16) | { b: 1, c: 2 }[type], true);
  view.setUint32(4, major, true);
  view.setUint32(8, minor, true);
  return view;
}

/** As much of the eBPF machine as the programs use, by the kernel's instruction-set.rst. True allows. */
function run(program: Uint8Array | undefined, request: Request): boolean {
  if (!program) return true;
  const memory = context(request);
  const view = new DataView(program.buffer);
  const registers: (bigint | undefined)[] = Array(11);
  const read = (register: number): bigint => {
    if (registers[register] === undefined) throw new Error(`r${register} is read before it is set`);
    return registers[register];
  };
  const u32 = (value: bigint) => BigInt.asUintN(32, value);
  for (let pc = 0; ; pc++) {
    const code = view.getUint8(8 * pc);
    const dst = view.getUint8(8 * pc + 1) & 15;
    const src = view.getUint8(8 * pc + 1) >> 4;
    const off = view.getInt16(8 * pc + 2, true);
    const imm = BigInt(view.getInt32(8 * pc + 4, true));
    if (code === 0x95) return read(0) !== 0n;
    if (code === 0x61 && src === 1) registers[dst] = BigInt(memory.getUint32(off, true));
    else if (code === 0x54) registers[dst] = u32(read(dst) & imm);
    else if (code === 0x74) registers[dst] = u32(read(dst)) >> imm;
    else if (code === 0xb4) registers[dst] = u32(imm);
    else if (code === 0xbc) registers[dst] = u32(read(src));
    else if (code === 0x15) pc += read(dst) === BigInt.asUintN(64, imm) ? off : 0;
    else if (code === 0x55) pc += read(dst) !== BigInt.asUintN(64, imm) ? off : 0;
    else throw new Error(`instruction 0x${code.toString(16)} at ${pc}`);
  }
}

/** The meaning of the rules, said directly: for each access the last rule that names it decides. */
function evaluate(rules: readonly DeviceRule[], { type, major, minor, access }: Request): boolean {
  const names = (rule: DeviceRule, letter: string) =>
    [undefined, 'a', type].includes(rule.type) &&
    [undefined, -1, major].includes(rule.major) &&
    [undefined, -1, minor].includes(rule.minor) &&
    rule.access!.includes(letter);
  return [...access].every((letter) => rules.findLast((rule) => names(rule, letter))?.allow ?? false);
}

const allowed = (rules: readonly DeviceRule[], text: string): boolean => {
  const [type, major, minor, access] = text.split(/[ :]/) as ['b' | 'c', string, string, string];
  return run(deviceProgram(rules), { type, major: Number(major), minor: Number(minor), access });
};

const denyAll: DeviceRule = { allow: false, access: 'rwm' };
const allowAll: DeviceRule = { allow: true, access: 'rwm' };
const rule = (text: string): DeviceRule => {
  const [word, type, major, minor, access] = text.split(/[ :]/) as [string, string, string, string, string];
  const number = (digits: string) => (digits === '*' ? -1 : Number(digits));
  return { allow: word === 'allow', type, major: number(major), minor: number(minor), access };
};

describe('deviceProgram', () => {
  it('decides as the rules say, whatever they are', () => {
    const number = fc.constantFrom(undefined, -1, 0, 1, 5, 4095);
    const access = fc.subarray(['r', 'w', 'm'], { minLength: 1 }).map((letters) => letters.join(''));
    const anyRule: fc.Arbitrary<DeviceRule> = fc
      .record({
        allow: fc.boolean(),
        type: fc.constantFrom(undefined, 'a', 'b', 'c'),
        major: number,
        minor: number,
        access,
      })
      .map((fields) => JSON.parse(JSON.stringify(fields)));
    const request: fc.Arbitrary<Request> = fc.record({
      type: fc.constantFrom('b', 'c'),
      major: fc.constantFrom(0, 1, 5, 7, 4095),
      minor: fc.constantFrom(0, 1, 5, 7),
      access,
    });
    const start = fc.constantFrom([], [denyAll], [allowAll]);
    const all = fc.tuple(start, fc.array(anyRule, { maxLength: 8 })).map(([first, more]) => [...first, ...more]);
    fc.assert(
      fc.property(all, fc.array(request, { minLength: 8, maxLength: 8 }), (rules, requests) => {
        const program = deviceProgram(rules);
        for (const asked of requests) expect(run(program, asked)).toBe(evaluate(rules, asked));
      }),
      { numRuns: 2000 },
    );
  });

  it('lets a container use its own devices and make, but not open, any other', () => {
    const rules = [denyAll, ...defaultDeviceRules];
    for (const own of ['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2', '136:0', '136:1048575'])
      expect(allowed(rules, `c ${own} rw`), own).toBe(true);
    for (const other of ['b 8:0', 'b 1:3', 'c 1:1', 'c 1:2', 'c 1:4', 'c 1:11', 'c 10:200', 'c 10:229', 'c 4:1']) {
      expect(allowed(rules, `${other} m`), other).toBe(true);
      for (const access of ['r', 'w', 'rw']) expect(allowed(rules, `${other} ${access}`), other).toBe(false);
    }
  });

  it('keeps reading and writing apart', () => {
    const readOnly = [denyAll, rule('allow b 8:0 r')];
    expect(['r', 'w', 'rw', 'm'].map((access) => allowed(readOnly, `b 8:0 ${access}`))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    const noWriting = [allowAll, rule('deny b 8:0 w')];
    expect(['r', 'w', 'rw', 'm'].map((access) => allowed(noWriting, `b 8:0 ${access}`))).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(allowed([rule('allow b 8:* r'), rule('allow b *:0 w')], 'b 8:0 rw')).toBe(true);
  });

  it('denies what no rule names', () => {
    expect(allowed([], 'c 1:3 r')).toBe(false);
    expect(allowed([rule('deny c 1:3 rwm')], 'c 1:5 r')).toBe(false);
  });

  it('is nothing at all where everything is allowed', () => {
    expect(deviceProgram([denyAll, allowAll, ...defaultDeviceRules])).toBeUndefined();
    expect(deviceProgram([rule('allow a *:* rwm')])).toBeUndefined();
    expect(deviceProgram([allowAll, rule('deny b 8:0 m')])).toBeDefined();
    expect(deviceProgram([allowAll, denyAll])).toBeDefined();
    expect(deviceProgram([rule('allow a *:* rw')])).toBeDefined();
  });

  it('leaves out the rules before one for everything', () => {
    expect(deviceProgram([rule('allow c 1:3 rwm'), denyAll])).toEqual(deviceProgram([denyAll]));
  });

  it.each([
    [{ type: 'p' }, 'type', 'type of a device rule is "p"; it must be a (any), b (block) or c (character)'],
    [{ type: '' }, 'type', 'is ""'],
    [{ type: 'constructor' }, 'type', 'is "constructor"'],
    [{ access: 'rx' }, 'access', 'access of a device rule is "rx"; it must be made of r, w and m'],
    [{ access: '' }, 'access', 'is ""'],
    [{ access: undefined }, 'access', 'is missing'],
    [{ major: 4096 }, 'major', 'major of a device rule is 4096; it must be 0 to 4095, or -1 for any'],
    [{ major: -2 }, 'major', 'is -2'],
    [{ minor: 1048576 }, 'minor', 'it must be 0 to 1048575'],
    [{ minor: 1.5 }, 'minor', 'is 1.5'],
    [{ minor: '3' }, 'minor', 'is "3"'],
    [{ allow: 'yes' }, 'allow', 'it must be true or false'],
  ])('refuses %j', (change, field, message) => {
    const rules = [denyAll, { ...rule('allow c 1:3 rwm'), ...change } as DeviceRule];
    expect(() => deviceProgram(rules)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(message),
        specPointer: `/linux/resources/devices/1/${field}`,
      }),
    );
  });
});
