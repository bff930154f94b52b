import { closeSync, openSync, readSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hostMachine, machineName, readElf } from '../../../src/explain/elf.ts';

const reader =
  (file: Uint8Array) =>
  (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    Buffer.from(file).copy(bytes, 0, Math.min(offset, file.length));
    return bytes;
  };

interface Made {
  bits: 32 | 64;
  machine: number;
  type?: number;
  loader?: string;
}

/** A file with one program header of another type, then PT_INTERP. */
function elf({ bits, machine, type = 2, loader }: Made): Buffer {
  const file = Buffer.alloc(512);
  file.write('\x7fELF', 'latin1');
  file.set([bits / 32, 1], 4);
  file.writeUInt16LE(type, 16);
  file.writeUInt16LE(machine, 18);
  const wide = bits === 64;
  file.writeUInt32LE(100, wide ? 32 : 28);
  file.writeUInt16LE(loader ? 2 : 1, wide ? 56 : 44);
  file.writeUInt32LE(1, 100);
  const at = 100 + (wide ? 56 : 32);
  if (!loader) return file;
  file.writeUInt32LE(3, at);
  file.writeUInt32LE(400, at + (wide ? 8 : 4));
  file.writeUInt32LE(loader.length + 1, at + (wide ? 32 : 16));
  file.write(`${loader}\0garbage`, 400);
  return file;
}

test.each([
  { bits: 64, machine: 62, loader: '/lib64/ld-linux-x86-64.so.2' },
  { bits: 32, machine: 3, loader: '/lib/ld-linux.so.2' },
  { bits: 64, machine: 183, loader: '/lib/ld-musl-aarch64.so.1', type: 3 },
] as const)('machine, type and loader of $bits bits, machine $machine', (made) => {
  expect(readElf(reader(elf(made)))).toEqual({ type: 2, ...made, bits: undefined });
});

test('without PT_INTERP there is no loader', () => {
  expect(readElf(reader(elf({ bits: 64, machine: 62 })))).toEqual({ type: 2, machine: 62 });
});

test('big endian: type and machine only', () => {
  const file = elf({ bits: 64, machine: 0, loader: '/x' });
  file[5] = 2;
  file.writeUInt16BE(2, 16);
  file.writeUInt16BE(22, 18);
  expect(readElf(reader(file))).toEqual({ type: 2, machine: 22 });
  expect(machineName(22)).toBe('s390x');
});

test('the program that runs this test is one for this host', () => {
  const fd = openSync(process.execPath, 'r');
  const read = (offset: number, length: number) => {
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes, 0, length, offset);
    return bytes;
  };
  expect(readElf(read)).toMatchObject({ machine: hostMachine, loader: expect.stringMatching(/^\/lib.*ld-/) });
  closeSync(fd);
});

test('any bytes are read without an exception, and at most 16 KiB at once', () => {
  const file = fc.uint8Array({ minLength: 0, maxLength: 300 });
  fc.assert(
    fc.property(file, fc.boolean(), (bytes, wide) => {
      bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1].slice(0, bytes.length));
      const lengths: number[] = [];
      const read = reader(bytes);
      readElf((offset, length) => {
        lengths.push(length);
        return read(offset, length);
      });
      expect(Math.max(...lengths)).toBeLessThanOrEqual(16384);
    }),
  );
});

test('a machine without a name is a number', () => {
  expect(machineName(4711)).toBe('ELF machine 4711');
});
