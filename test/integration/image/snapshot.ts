/** What a folder holds, as data that can be compared: every file's type, owner, mode, times, content and attributes. */
import { createHash } from 'node:crypto';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rawSyscall } from '../../../src/core/host/syscall.ts';

export interface Node {
  type: string;
  mode: string;
  owner: string;
  nlink: number;
  mtimeNs: bigint;
  rdev: number;
  /** Target of a link, digest of a file. */
  content: string;
  xattrs: Record<string, string>;
}

/** By path relative to `folder`; '' is the folder itself. Names that are no UTF-8 come out as latin1. */
export function snapshot(folder: string): Map<string, Node> {
  const nodes = new Map<string, Node>();
  const visit = (path: Buffer, name: string) => {
    const node = describe(path);
    nodes.set(name, node);
    if (node.type !== 'directory') return;
    for (const child of readdirSync(path, { encoding: 'buffer' }))
      visit(
        Buffer.concat([path, Buffer.from('/'), child]),
        `${name === '' ? '' : `${name}/`}${child.toString('latin1')}`,
      );
  };
  visit(Buffer.from(folder), '');
  return nodes;
}

function describe(path: Buffer): Node {
  const stat = lstatSync(path, { bigint: true });
  const kinds = ['File', 'Directory', 'SymbolicLink', 'CharacterDevice', 'BlockDevice', 'FIFO'] as const;
  const kind = kinds.find((one) => stat[`is${one}`]())!;
  return {
    type: kind.toLowerCase(),
    mode: (Number(stat.mode) & 0o7777).toString(8),
    owner: `${stat.uid}:${stat.gid}`,
    nlink: kind === 'Directory' ? 0 : Number(stat.nlink),
    mtimeNs: stat.mtimeNs,
    rdev: Number(stat.rdev),
    content:
      kind === 'SymbolicLink'
        ? readlinkSync(path, 'latin1')
        : kind === 'File'
          ? createHash('sha256').update(readFileSync(path)).digest('hex')
          : '',
    xattrs: xattrs(path),
  };
}

function xattrs(path: Buffer): Record<string, string> {
  const memory = Buffer.alloc(4096);
  const name = (text: Buffer | string) => Buffer.concat([Buffer.from(text as string), Buffer.from([0])]);
  const length = rawSyscall('llistxattr', name(path), memory, memory.length);
  const keys = memory.toString('latin1', 0, Math.max(length, 0)).split('\0').filter(Boolean).sort();
  const values = keys.map((key) => {
    const size = rawSyscall('lgetxattr', name(path), name(key), memory, memory.length);
    return [key, memory.toString('hex', 0, size)];
  });
  return Object.fromEntries(values);
}

/** A temporary folder; remove() it. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'tinyctr-image-'));

  in(...names: string[]): string {
    return join(this.path, ...names);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
