/** The twins native-shim/protocol.h and src/core/stage/protocol.ts say the same; frames are whole before they are sent (SEC-20). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import * as protocol from '../../../../src/core/stage/protocol.ts';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from '../kernel/c-facts.ts';

const { decodePage, decodeReply, encodeFrame } = protocol;
const nativeShim = fileURLToPath(new URL('../../../../native-shim', import.meta.url));
const header = readFileSync(`${nativeShim}/protocol.h`, 'utf8');

type Call = protocol.WireCall;
const call = (args: Call['args'], more: Partial<Call> = {}): Call => ({ nr: 39, args, tolerated: [], ...more });
const encode = (...calls: Call[]) => encodeFrame(calls, 0).bytes;

/** Where things lie in a frame, read from its own header. */
function parts(bytes: Buffer) {
  const [, , calls, relocations, dataLength, outOffset, outLength] = Array.from({ length: 8 }, (_, i) =>
    bytes.readUInt32LE(4 * i),
  ) as [number, number, number, number, number, number, number];
  const relocationsAt = 32 + 64 * calls;
  const data = bytes.subarray(relocationsAt + 8 * relocations);
  const pairs = Array.from({ length: relocations }, (_, i) => [
    bytes.readUInt32LE(relocationsAt + 8 * i),
    bytes.readUInt32LE(relocationsAt + 8 * i + 4),
  ]) as [number, number][];
  return { data, dataLength, outOffset, outLength, relocations: new Map(pairs) };
}

const stringAt = (data: Buffer, at: number) => data.toString('utf8', at, data.indexOf(0, at));
const argument = (bytes: Buffer, index: number, nth = 0) =>
  Number(bytes.readBigUInt64LE(32 + 64 * nth + 8 + 8 * index));

describe('twins', () => {
  test('every #define of the header is a constant here, and the other way round', () => {
    const defines = [...header.matchAll(/^#define ([A-Z_]+) (0x[0-9a-f]+|\d+)u?\b/gm)].map(([, n, v]) => [
      n,
      Number(v),
    ]);
    const constants = Object.entries(protocol).filter(([, value]) => typeof value === 'number');
    expect(Object.fromEntries(defines)).toEqual(Object.fromEntries(constants));
    expect(defines.length).toBeGreaterThan(12);
  });

  test('docs/protocol.md has the same limits and fields', () => {
    const page = readFileSync(fileURLToPath(new URL('../../../../docs/protocol.md', import.meta.url)), 'utf8');
    const limits = [...page.matchAll(/^\| ([A-Z_]+) *\| (\d+) *\|/gm)].map(([, name, value]) => [name, Number(value)]);
    expect(Object.entries(protocol)).toEqual(expect.arrayContaining(limits));
    expect(limits).toHaveLength(6);
    for (const [name, size] of Object.entries(protocol.sizes)) expect(page).toContain(`struct ${name}, ${size} bytes`);
  });

  const structs = [...header.matchAll(/^struct (\w+) \{/gm)].map(([, name]) => name!);
  test('every struct of the header has its size here', () => {
    expect(structs).toEqual(Object.keys(protocol.sizes));
  });

  /** The fields that protocol.ts writes and reads, where it does. Others are none of its business. */
  const fields: Record<string, Record<string, number>> = {
    request: {
      magic: 0,
      length: 4,
      calls: 8,
      relocations: 12,
      data_length: 16,
      out_offset: 20,
      out_length: 24,
      descriptors: 28,
    },
    call: { nr: 0, flags: 4, pointers: 6, references: 7, args: 8, tolerated: 56, serve_fd: 60 },
    relocation: { at: 0, target: 4 },
    reply: { magic: 0, length: 4, version: 8, calls: 12, failed: 16, descriptors: 20, out_length: 24, pid: 28 },
    page: { magic: 0, frame: 4, call: 8, phase: 12, result: 16 },
  };
  for (const compiler of compilers)
    test(`sizes and offsets on ${compiler.arch}`, needs({ command: compiler.command }), () => {
      const facts = Object.entries(protocol.sizes).flatMap(([name, size]) => [
        [`sizeof(struct ${name})`, size] as const,
        ...Object.entries(fields[name]!).map(([field, at]) => [`offsetof(struct ${name}, ${field})`, at] as const),
      ]);
      const preamble = `#include <stddef.h>\n#include "${nativeShim}/protocol.h"`;
      expect(checkFacts(compiler, preamble, facts)).toEqual({ wrong: [], unknown: [] });
      expect(checkFacts(compiler, preamble, [['offsetof(struct call, args)', 16]]).wrong).toHaveLength(1);
    });

  test('the fields listed above are all of the header’s', () => {
    for (const [name, listed] of Object.entries(fields)) {
      const body = new RegExp(`^struct ${name} \\{([^}]*)\\}`, 'm').exec(header)![1]!.replace(/\/\*.*?\*\//gs, '');
      const declared = [...body.matchAll(/(\w+)(?:\[\d+\])?;/g)].map(([, field]) => field);
      expect([name, declared]).toEqual([name, Object.keys(listed)]);
    }
  });
});

describe('a frame', () => {
  test('has the header that its parts add up to', () => {
    const { bytes } = encodeFrame([call([1]), call(['text', { out: 16 }, { strings: ['a', 'b'] }])], 3);
    const { dataLength, outLength, outOffset, relocations } = parts(bytes);
    const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt32LE(4 * i));
    expect(words).toEqual([0x54435452, bytes.length, 2, 2, dataLength, outOffset, outLength, 3]);
    expect(32 + 2 * 64 + relocations.size * 8 + dataLength).toBe(bytes.length);
    expect([outLength, bytes.at(-1), dataLength % 8]).toEqual([16, 0, 0]);
  });

  test('carries a call field by field', () => {
    const bytes = encode(call([1, 'x', null, { resultOf: 0 }], { nr: 437, tolerated: [2, 17], serveFd: 9 }));
    const at = 32;
    expect([bytes.readUInt32LE(at), bytes.readUInt16LE(at + 4)]).toEqual([437, protocol.CALL_FORKS]);
    expect([bytes[at + 6], bytes[at + 7]]).toEqual([0b0010, 0b1000]);
    expect([bytes.readUInt16LE(at + 56), bytes.readUInt16LE(at + 58), bytes.readInt32LE(at + 60)]).toEqual([2, 17, 9]);
    const plain = encode(call([]));
    expect([plain.readUInt16LE(at + 4), plain[at + 6], plain[at + 7], plain.readInt32LE(at + 60)]).toEqual([
      0, 0, 0, -1,
    ]);
  });

  test.each([
    [-100, 0xffff_ffff_ffff_ff9cn],
    [-1n, 0xffff_ffff_ffff_ffffn],
    [0xffffffff, 0xffff_ffffn],
    [2n ** 64n - 1n, 0xffff_ffff_ffff_ffffn],
    [0x2_0000_0000n, 0x2_0000_0000n],
    [null, 0n],
    [0x20_0000_0001, 0x20_0000_0001n],
    [-(2 ** 40) - 3, 2n ** 64n - 2n ** 40n - 3n],
    [2 ** 53 - 1, 2n ** 53n - 1n],
  ])('carries the integer %s in 64 bits', (value, bits) => {
    expect(encode(call([value])).readBigUInt64LE(40)).toBe(bits);
  });

  test('carries strings with their closing NUL, also beyond ASCII and empty', () => {
    const bytes = encode(call(['/käse', '', 'x']));
    const { data } = parts(bytes);
    expect([0, 1, 2].map((i) => stringAt(data, argument(bytes, i)))).toEqual(['/käse', '', 'x']);
  });

  test('carries lists of strings with a NULL at the end', () => {
    const bytes = encode(call([{ strings: ['sh', '-c', ''] }, { strings: [] }]));
    const { data, relocations } = parts(bytes);
    const list = argument(bytes, 0);
    expect([0, 8, 16].map((i) => stringAt(data, relocations.get(list + i)!))).toEqual(['sh', '-c', '']);
    expect(relocations.size).toBe(3);
    for (const end of [list + 24, argument(bytes, 1)]) expect(data.readBigUInt64LE(end)).toBe(0n);
  });

  test('carries structs whose pointers lead to structs', () => {
    const inner = { struct: new Uint8Array(16).fill(7), pointers: [{ at: 0, to: 'deep' }] };
    const bytes = encode(call([0, { struct: new Uint8Array(24), pointers: [{ at: 8, to: inner }] }]));
    const { data, relocations } = parts(bytes);
    const innerAt = relocations.get(argument(bytes, 1) + 8)!;
    expect(data[innerAt + 8]).toBe(7);
    expect(stringAt(data, relocations.get(innerAt)!)).toBe('deep');
  });

  test('keeps what comes back together at the end, in the order of the calls', () => {
    const calls = [call([{ out: 5 }, 'between']), call([{ inout: Buffer.from('changed') }]), call([{ out: 8 }])];
    const { bytes, outs } = encodeFrame(calls, 0);
    expect(outs).toEqual([
      { call: 0, at: 0, length: 5 },
      { call: 1, at: 8, length: 7 },
      { call: 2, at: 16, length: 8 },
    ]);
    const { data, outOffset, outLength } = parts(bytes);
    expect(outLength).toBe(24);
    expect([0, 1, 2].map((i) => argument(bytes, 0, i))).toEqual([outOffset, outOffset + 8, outOffset + 16]);
    expect(data.toString('utf8', outOffset + 8, outOffset + 15)).toBe('changed');
  });
});

describe('limits, before anything is sent', () => {
  const tooMany = (found: number, what: string, most: number) =>
    new RangeError(`${found} ${what} are too many for one frame to the stage: at most ${most}`);

  test('a frame holds 8 MiB', () => {
    const room = protocol.MAX_FRAME - encode(call(['']), call([])).length;
    expect(encode(call(['x'.repeat(room)]), call([])).length).toBeLessThanOrEqual(protocol.MAX_FRAME);
    const most = encode(call(['x'.repeat(room + 7)]), call([])).length;
    expect(most).toBe(protocol.MAX_FRAME);
    const error = tooMany(most + 8, 'bytes of arguments and environment', protocol.MAX_FRAME);
    expect(() => encode(call(['x'.repeat(room + 8)]), call([]))).toThrow(error);
  });

  test('1024 calls', () => {
    const calls = Array.from({ length: 1024 }, () => call([]));
    expect(encode(...calls).readUInt32LE(8)).toBe(1024);
    expect(() => encode(...calls, call([]))).toThrow(tooMany(1025, 'calls', 1024));
  });

  test('262144 pointers within the data', () => {
    const strings = Array.from({ length: protocol.MAX_RELOCATIONS }, () => '');
    expect(parts(encode(call([{ strings }]))).relocations.size).toBe(protocol.MAX_RELOCATIONS);
    const one = tooMany(protocol.MAX_RELOCATIONS + 1, 'strings and pointers', protocol.MAX_RELOCATIONS);
    expect(() => encode(call([{ strings }, { strings: [''] }]))).toThrow(one);
  });

  test('16 descriptors', () => {
    expect(encodeFrame([call([])], 16).bytes.readUInt32LE(28)).toBe(16);
    expect(() => encodeFrame([call([])], 17)).toThrow(tooMany(17, 'descriptors', 16));
  });

  test('what comes back fits into one packet', () => {
    const most = protocol.MAX_REPLY - 32 - 8 - 64;
    expect(parts(encode(call([{ out: most }]))).outLength).toBe(most);
    expect(() => encode(call([{ out: most + 1 }]))).toThrow(tooMany(65544, 'bytes to come back', 65536));
  });

  test('six arguments and two tolerated errnos', () => {
    expect(() => encode(call([1, 2, 3, 4, 5, 6, 7]))).toThrow(tooMany(7, 'arguments of a call', 6));
    expect(() => encode(call([], { tolerated: [1, 2, 3] }))).toThrow(tooMany(3, 'tolerated errnos of a call', 2));
  });

  test.each([Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 53])('%s is no integer', (value) => {
    expect(() => encode(call([value]))).toThrow(new RangeError(`${value} is no integer for the kernel`));
  });

  test('a reference to no call', () => {
    expect(() => encode(call([]), call([{ resultOf: undefined as never }]))).toThrow(
      'undefined is no integer for the kernel',
    );
  });

  test('no NUL within a string', () => {
    const error = new RangeError('a string for the kernel contains a NUL byte: "/etc\\u0000/shadow"');
    expect(() => encode(call(['/etc\0/shadow']))).toThrow(error);
    expect(() => encode(call([{ strings: ['ok', '/etc\0/shadow'] }]))).toThrow(error);
  });
});

describe('a reply', () => {
  const results = [3n, -2n, 0x7fff_ffff_ffffn];
  const reply = (changes: Record<number, number> = {}, descriptors = [5, 6, 7]): Buffer => {
    const bytes = Buffer.alloc(32 + 24 + 16 + 4);
    const words = [protocol.PROTOCOL_MAGIC, bytes.length, 1, 3, 1, descriptors.length, 4, 42];
    for (const [i, word] of words.entries()) bytes.writeUInt32LE(changes[i] ?? word, 4 * i);
    for (const [i, result] of results.entries()) bytes.writeBigInt64LE(result, 32 + 8 * i);
    for (const [i, fd] of descriptors.entries()) bytes.writeInt32LE(fd, 56 + 4 * i);
    bytes.write('back', 72);
    return bytes;
  };

  test('is read field by field', () => {
    expect(decodeReply(reply())).toEqual({
      version: 1,
      pid: 42,
      failed: true,
      results: results.map(Number),
      descriptors: [5, 6, 7],
      out: Buffer.from('back'),
    });
  });

  test.each([
    ['another magic', reply({ 0: 0x12345678 })],
    ['a length that is not its own', reply({ 1: 80 })],
    ['half a header', reply().subarray(0, 16)],
    ['nothing', Buffer.alloc(0)],
    ['more results than it holds', reply({ 3: 4 })],
    ['a number of results beyond all bounds', reply({ 3: 0xffffffff })],
    ['more descriptors than it holds', reply({ 5: 5 })],
    ['more to come back than it holds', reply({ 6: 5 })],
    ['less to come back than it holds', reply({ 6: 3 })],
  ])('with %s is none', (_, bytes) => {
    expect(() => decodeReply(bytes)).toThrow(
      /^(the stage answered with \d+ bytes that are no reply|a reply of \d+ bytes has lengths that don't add up)$/,
    );
  });

  test('the shared page is read field by field', () => {
    const page = Buffer.alloc(protocol.sizes.page);
    for (const [at, value] of [
      [0, 1],
      [4, 2],
      [8, 3],
      [12, 4],
    ] as const)
      page.writeUInt32LE(value, at);
    page.writeBigInt64LE(-13n, 16);
    expect(decodePage(page)).toEqual({ frame: 2, call: 3, phase: 4, result: -13 });
  });
});
