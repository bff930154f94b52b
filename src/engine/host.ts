/** What `containerSpec` asks about the host, read for real. Host side. */
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { randomHex } from '../core/host/random.ts';
import type { HostDevice, HostReaders } from './options.ts';

const S_IFMT = 0o170000;
const types = new Map<number, HostDevice['type']>([
  [0o020000, 'c'],
  [0o060000, 'b'],
  [0o010000, 'p'],
]);

function device(path: string): HostDevice | undefined {
  const { mode, rdev, uid, gid } = lstatSync(path);
  const type = types.get(mode & S_IFMT);
  if (!type) return undefined;
  const major = Number(((BigInt(rdev) >> 32n) & 0xfffff000n) | ((BigInt(rdev) >> 8n) & 0xfffn));
  const minor = Number(((BigInt(rdev) >> 12n) & 0xffffff00n) | (BigInt(rdev) & 0xffn));
  return { path, type, major, minor, fileMode: mode & 0o7777, uid, gid };
}

function devices(path: string): HostDevice[] {
  if (!existsSync(path)) return [];
  if (!lstatSync(path).isDirectory()) return [device(path)].filter((found) => found !== undefined);
  return readdirSync(path).flatMap((name) => devices(`${path}/${name}`));
}

export const hostReaders: HostReaders = {
  get hostname() {
    return process.getBuiltinModule('node:os').hostname();
  },
  get cpus() {
    return process.getBuiltinModule('node:os').availableParallelism();
  },
  env: process.env,
  readFile: (path) => readFileSync(path),
  exists: existsSync,
  resolve: (path) => resolve(path),
  devices,
  realPath: (path) => realpathSync(path),
  volumeName: () => randomHex(32),
};
