/** The few fields of an ELF file that decide whether this kernel can execute it. Pure. Source: elf(5). */

/** At most `length` bytes from `offset`, fewer at the file's end. */
export type ReadAt = (offset: number, length: number) => Buffer;

export interface Elf {
  /** ET_EXEC is 2, ET_DYN 3. */
  type: number;
  /** EM_*. */
  machine: number;
  /** PT_INTERP: the loader that a dynamically linked program names. */
  loader?: string;
  /** The file ends before its program headers do. */
  cut: boolean;
}

const PT_INTERP = 3;

/** EM_* by the names that images have for architectures (GOARCH). */
const machines: Record<number, string> = {
  3: '386',
  8: 'mips',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
};

export const machineName = (machine: number): string => machines[machine] ?? `the ELF machine ${machine}`;
export const hostMachine = process.arch === 'arm64' ? 183 : 62;
/** Where glibc and musl put their loaders on this architecture. */
export const loaders =
  process.arch === 'arm64'
    ? { glibc: '/lib/ld-linux-aarch64.so.1', musl: '/lib/ld-musl-aarch64.so.1' }
    : { glibc: '/lib64/ld-linux-x86-64.so.2', musl: '/lib/ld-musl-x86_64.so.1' };

/** Undefined if it is no ELF file. */
export function readElf(read: ReadAt): Elf | undefined {
  const header = read(0, 64);
  if (header.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
  if (header.length < 52) return { type: 0, machine: 0, cut: true };
  const word = header[5] === 2 ? header.readUInt16BE.bind(header) : header.readUInt16LE.bind(header); // EI_DATA
  const elf: Elf = { type: word(16), machine: word(18), cut: false }; // e_type, e_machine
  if (header[5] === 2) return elf; // big endian: not for this host, and nothing else matters
  const wide = header[4] === 2; // EI_CLASS
  if (wide && header.length < 64) return { ...elf, cut: true };
  const at = wide ? Number(header.readBigUInt64LE(32)) : header.readUInt32LE(28); // e_phoff
  const [size, count] = [word(wide ? 54 : 42), Math.min(word(wide ? 56 : 44), 128)]; // e_phentsize, e_phnum
  const table = read(at, size * count);
  if (table.length < size * count) return { ...elf, cut: true };
  for (let i = 0; i < table.length; i += size) {
    if (size < 32 || table.readUInt32LE(i) !== PT_INTERP) continue; // p_type
    const offset = wide ? Number(table.readBigUInt64LE(i + 8)) : table.readUInt32LE(i + 4); // p_offset
    const length = table.readUInt32LE(i + (wide ? 32 : 16)); // p_filesz
    return { ...elf, loader: read(offset, Math.min(length, 4096)).toString().replace(/\0.*$/s, '') };
  }
  return elf;
}
