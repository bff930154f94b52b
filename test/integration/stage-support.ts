/** A pipe, a Node process that has a stage and waits to be killed, and patience. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, readSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { syscall } from '../../src/core/host/syscall.ts';
import { O_CLOEXEC } from '../../src/core/kernel/constants.ts';
import type { HostFd } from '../../src/core/stage/stage.ts';

const root = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');

export class Pipe {
  readonly read: HostFd;
  readonly write: HostFd;
  private readonly open: Set<HostFd>;

  constructor() {
    const ends = Buffer.alloc(8);
    syscall('pipe2', [ends, O_CLOEXEC]);
    this.read = ends.readInt32LE(0) as HostFd;
    this.write = ends.readInt32LE(4) as HostFd;
    this.open = new Set([this.read, this.write]);
  }

  closeWrite(): void {
    if (this.open.delete(this.write)) closeSync(this.write);
  }

  /** Blocks until nobody can write any more. */
  readAll(): string {
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.alloc(4096);
      const length = readSync(this.read, chunk);
      if (length === 0) return Buffer.concat(chunks).toString('utf8');
      chunks.push(chunk.subarray(0, length));
    }
  }

  close(): void {
    for (const fd of this.open) closeSync(fd);
    this.open.clear();
  }
}

/** Waits until it is so, at most five seconds. */
export async function until(so: () => boolean): Promise<void> {
  for (let tries = 0; tries < 250 && !so(); tries++) await sleep(20);
}

const program = `
import { openSync, writeSync } from 'node:fs';
import { spawnStage } from './src/core/host/spawn.ts';
import { syscallNumbers } from './src/core/kernel/syscalls.ts';
import { encodeFrame } from './src/core/stage/protocol.ts';
import { Stage } from './src/core/stage/stage.ts';
const fd = openSync('/dev/null', 'r+');
const { hostPid, wire } = spawnStage({ namespaces: 0, stdio: [fd, fd, fd] });
wire.handshake();
if (process.argv[2] === 'idle') {
  const stage = new Stage(wire);
  stage.set_pdeathsig(0);
  stage.flush();
}
writeSync(1, hostPid + '\\n');
const ppoll = { nr: syscallNumbers(process.arch)('ppoll'), args: [null, 0, null, null, 0], tolerated: [] };
if (process.argv[2] === 'blocked') wire.exchange(encodeFrame([ppoll], 0).bytes, []);
setInterval(() => {}, 1000);
`;

export interface Parent {
  /** The stage's, on the host. */
  stagePid: Promise<number>;
  kill(): void;
  remove(): void;
}

/** Another Node process with a stage: 'idle', without parent-death signal, or 'blocked' in a call for ever. */
export async function startParent(mode: string): Promise<Parent> {
  const folder = mkdtempSync(`${tmpdir()}/tinyctr-parent-`);
  for (const name of ['node_modules', 'native-shim']) symlinkSync(`${root}/${name}`, `${folder}/${name}`);
  const outfile = `${folder}/dist/parent.mjs`;
  const stdin = { contents: program, resolveDir: root, loader: 'ts' as const };
  await build({ stdin, outfile, bundle: true, packages: 'external', format: 'esm', platform: 'node' });
  const child: ChildProcess = spawn(process.execPath, [outfile, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const stagePid = new Promise<number>((resolve, reject) => {
    child.stdout!.once('data', (data) => resolve(Number(data)));
    child.once('exit', () => reject(new Error('the parent ended before its stage was there')));
  });
  return {
    stagePid,
    kill: () => child.kill('SIGKILL'),
    remove: () => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    },
  };
}
