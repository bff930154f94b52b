/** Files as a recording stage's world sees them: real ones, looked at without changing anything, or records of a test's. Host side. */
import { lstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { rawSyscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';

export interface WorldFile {
  /** Type and permissions. */
  mode: number;
  size?: number;
  rdev?: number;
  /** Where a symbolic link leads. */
  link?: string;
  content?: string | Buffer;
}

/** What is at an absolute path, without following a link at its end; undefined where there is nothing, or nothing may be seen. */
export type Tree = (path: string) => WorldFile | undefined;

export const directory: WorldFile = { mode: k.S_IFDIR | 0o755 };
export const file = (content = '', mode = 0o644): WorldFile => ({ mode: k.S_IFREG | mode, content });
export const typeOf = ({ mode }: WorldFile): number => mode & k.S_IFMT;

/** Is told of paths that this user may not look at. */
export type Hidden = (path: string) => void;
const forAll: Hidden = () => undefined;

function statusOf(path: string, hidden = forAll): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as { code?: string }).code === 'EACCES') hidden(path); // else ENOTDIR
    return undefined;
  }
}

function contentOf(path: string, hidden: Hidden): string | Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EACCES') throw error;
    hidden(path);
    return '';
  }
}

function realFile(path: string, { mode, size, rdev }: Stats, hidden = forAll): WorldFile {
  const link = (mode & k.S_IFMT) === k.S_IFLNK ? { link: readlinkSync(path) } : {};
  return {
    ...{ mode, size, rdev, ...link },
    get content() {
      return (mode & k.S_IFMT) === k.S_IFREG ? contentOf(path, hidden) : '';
    },
  };
}

/** A folder of this machine: what is asked for is a path below it whose links somebody else has followed. */
export function folderTree(folder: string, hidden?: Hidden): Tree {
  return (path) => {
    const whole = `${folder}${path === '/' ? '' : path}` || '/';
    const status = statusOf(whole, hidden);
    return status && realFile(whole, status, hidden);
  };
}

/** Layers, lowest first, as overlayfs shows them: whiteouts and opaque directories hide what is below. Source: the kernel's overlayfs.rst. */
export function overlayTree(layers: readonly string[]): Tree {
  return (path) => {
    const parts = path.split('/').filter((part) => part !== '');
    for (const layer of [...layers].reverse()) {
      let whole = layer;
      let opaque = false;
      let status = statusOf(layer);
      for (const part of parts) {
        opaque ||= whole !== layer && isOpaque(whole);
        whole += `/${part}`;
        status = statusOf(whole);
        if (!status?.isDirectory()) break;
      }
      const isWhiteout = status?.isCharacterDevice() && status.rdev === 0;
      if (isWhiteout || (status && !status.isDirectory() && whole !== `${layer}${parts.map((p) => `/${p}`).join('')}`))
        return undefined;
      if (status) return realFile(whole, status);
      if (opaque) return undefined;
    }
    return undefined;
  };
}

function isOpaque(folder: string): boolean {
  return rawSyscall('lgetxattr', folder, 'trusted.overlay.opaque', new Uint8Array(1), 1) === 1;
}
