/** The few fields of an ELF file that decide whether this kernel can execute it. Pure. Source: elf(5). */

/** `length` bytes from `offset`, zeros beyond the file's end. */
export type ReadAt = (offset: number, length: number) => Buffer;

export interface Elf {
  /** ET_EXEC is 2, ET_DYN 3. */
  type: number;
  /** EM_*. */
  machine: number;
  /** PT_INTERP: the loader that a dynamically linked program names. */
  loader?: string;
}

const PT_INTERP = 3;
const arm64 = process.arch === 'arm64';

/** EM_* by the names that images have for architectures. */
const machines = new Map(
  Object.entries({
    386: 3,
    mips: 8,
    ppc64: 21,
    s390x: 22,
    arm: 40,
    amd64: 62,
    arm64: 183,
    riscv64: 243,
    loong64: 258,
  }).map(([name, machine]) => [machine, name]),
);

export const machineName = (machine: number): string => machines.get(machine) ?? `ELF machine ${machine}`;
export const hostMachine = arm64 ? 183 : 62;
/** Where glibc and musl have their loaders on this architecture. */
export const loaders = {
  glibc: arm64 ? '/lib/ld-linux-aarch64.so.1' : '/lib64/ld-linux-x86-64.so.2',
  musl: arm64 ? '/lib/ld-musl-aarch64.so.1' : '/lib/ld-musl-x86_64.so.1',
};

export function readElf(read: ReadAt): Elf {
  const header = read(0, 64);
  const big = header[5] === 2; // EI_DATA
  const half = (at: number) => (big ? header.readUInt16BE(at) : header.readUInt16LE(at));
  const elf: Elf = { type: half(16), machine: half(18) }; // e_type, e_machine
  if (big) return elf; // not for this host: nothing else matters
  const wide = header[4] === 2; // EI_CLASS
  const offset = wide ? Number(header.readBigUInt64LE(32)) : header.readUInt32LE(28); // e_phoff
  const size = wide ? 56 : 32; // e_phentsize
  const table = read(offset, size * Math.min(half(wide ? 56 : 44), 128)); // e_phnum
  for (let i = 0; i < table.length; i += size) {
    if (table.readUInt32LE(i) !== PT_INTERP) continue; // p_type
    const at = wide ? Number(table.readBigUInt64LE(i + 8)) : table.readUInt32LE(i + 4); // p_offset
    const length = table.readUInt32LE(i + (wide ? 32 : 16)); // p_filesz
    return { ...elf, loader: read(at, Math.min(length, 4096)).toString().split('\0')[0]! };
  }
  return elf;
}
