/**
 * Where a saved image goes: an archive on standard output or in a file, or a directory. What has a name gets it when it is
 * complete: until then it is called .NAME.saving-<pid>. Host side.
 */
import {
  closeSync,
  createWriteStream,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Image } from './records.ts';
import { encodeHeader, endOfArchive, paddingOf } from './tar/encode.ts';

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** An image that is to be saved, and the tags that go with it (alpine:latest). */
export interface WantedImage {
  image: Image;
  tags: string[];
}

/** One file of a saved image. */
export interface SavedFile {
  /** With / between directories. */
  name: string;
  /** Bytes. */
  size: number;
  /** Called once. Throws when the store's data are not what they should be. */
  content: () => AsyncIterable<Buffer>;
}

export function smallFile(name: string, bytes: Buffer): SavedFile {
  return { name, size: bytes.length, content: () => Readable.from([bytes]) };
}

/** To standard output. Throws ContainerError when that is a terminal. */
export async function saveToStdout(files: readonly SavedFile[]): Promise<void> {
  const { stdout } = process;
  if (stdout.isTTY)
    throw new ContainerError('an archive is not written to a terminal', {
      hint: 'use -o FILE, or redirect the output',
    });
  await explained('standard output', () => writeArchive(files, stdout));
}

/** To a file, which appears complete or not at all; a device or a FIFO is written to as it is. */
export async function saveToFile(files: readonly SavedFile[], path: string): Promise<void> {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new ContainerError(`${path} is a directory, where a file is to be written`);
  if (there && !there.isFile())
    return await explained(path, () => writeArchive(files, createWriteStream(path, { flags: 'w' })));
  await complete(path, async (temporary) => {
    const target = createWriteStream(temporary, { mode: 0o600, flush: true });
    await writeArchive(files, target);
  });
}

/** To a directory that is new or empty; it appears complete or not at all. */
export async function saveToDirectory(files: readonly SavedFile[], path: string): Promise<void> {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there && !there.isDirectory()) throw new ContainerError(`${path} is there already, and is no directory`);
  if (there && readdirSync(path).length > 0)
    throw new ContainerError(`the directory ${path} is not empty`, { hint: 'name one that is to be made' });
  await complete(path, async (temporary) => {
    mkdirSync(temporary, { mode: 0o755 });
    for (const { name, content } of files) {
      mkdirSync(dirname(join(temporary, name)), { recursive: true });
      await pipeline(content, createWriteStream(join(temporary, name), { flush: true }));
    }
  });
}

async function writeArchive(files: readonly SavedFile[], target: Writable) {
  await pipeline(archive(files), target, { end: target !== process.stdout });
}

/** Owner, mode and time are the same in every archive: the same images give the same bytes. */
async function* archive(files: readonly SavedFile[]): AsyncGenerator<Buffer> {
  const base = { linkname: '', uid: 0, gid: 0, mtimeNs: 0n, devMajor: 0, devMinor: 0, xattrs: new Map() };
  for (const { name, size, content } of files) {
    yield encodeHeader({ ...base, type: 'file', name, size, mode: 0o644 });
    yield* content();
    yield paddingOf(size);
  }
  yield endOfArchive;
}

/** Gives `write` another name beside `path`, and renames when it is done; removes it when it fails. */
async function complete(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const folder = dirname(resolve(path));
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new ContainerError(`the directory ${folder} does not exist`);
  const temporary = join(folder, `.${basename(path)}.saving-${process.pid}`);
  const remove = () => rmSync(temporary, { recursive: true, force: true });
  const ended = (signal: NodeJS.Signals) => {
    remove();
    process.kill(process.pid, signal); // there is no handler any more: now it ends us
  };
  for (const signal of ENDING) process.once(signal, ended);
  try {
    await explained(path, async () => {
      await write(temporary);
      renameSync(temporary, path);
      flush(folder);
    });
  } catch (error) {
    remove();
    throw error;
  } finally {
    for (const signal of ENDING) process.off(signal, ended);
  }
}

function flush(folder: string): void {
  const fd = openSync(folder, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

async function explained(path: string, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined || error instanceof ContainerError) throw error;
    throw new ContainerError(`${path} can't be written: ${errnoText(-errno)}`, { cause: error });
  }
}
