/** The processes that unpack what is fetched (image/unpack/helper.ts): started when there is something, one layer at a time each. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { nativeFolder } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { zstdByNode } from '../image/compression.ts';
import type { Failure, Report, Task } from '../image/unpack/helper.ts';
import type { UnpackedLayer } from '../image/unpack/layer.ts';

/** Each takes some 80 MB, of zstd's without Node's help up to 165: then there is one. */
const MOST_PROCESSES = Math.min(2, availableParallelism());
const PROGRAM = join(nativeFolder, '../../dist/tinyctr-unpack.cjs');
/** Buffers die young: a small heap lets go of them sooner. And the other processors have something else to do. */
const FLAGS = ['--max-semi-space-size=1', '--single-threaded-gc'];

export interface Unpacking {
  /** Tells that so many bytes of the archive are in its file. */
  arrived(bytes: number): void;
  /** Rejects with what went wrong: with a ContainerError unless it is a mistake of ours. */
  readonly result: Promise<UnpackedLayer>;
}

interface Job {
  task: Task & { archive: string };
  passed: (bytes: number) => void;
  resolve: (layer: UnpackedLayer) => void;
  reject: (error: Error) => void;
  child?: ChildProcess;
}

export class Unpackers {
  /** The lock of the folder with the trees: it is held until the last process is gone. */
  readonly #lockFd: number;
  readonly #idle: ChildProcess[] = [];
  readonly #all: ChildProcess[] = [];
  readonly #waiting: Job[] = [];

  readonly #most: number;

  /** `mediaTypes` of what will be unpacked. */
  constructor(lockFd: number, mediaTypes: readonly string[]) {
    this.#lockFd = lockFd;
    this.#most = !zstdByNode && mediaTypes.some((type) => /zstd$/.test(type)) ? 1 : MOST_PROCESSES;
  }

  /** Unpacks `archive`, which may still grow to `size` bytes, into the empty directory `tree`. */
  unpack(archive: string, tree: string, size: number, arrived: number, passed: (bytes: number) => void): Unpacking {
    const { promise, resolve, reject } = withResolvers<UnpackedLayer>();
    const job: Job = { task: { archive, tree, size, arrived }, passed, resolve, reject };
    promise.catch(() => {}); // whoever waits for it may come later
    this.#waiting.push(job);
    this.#next();
    const tell = (bytes: number) => {
      job.task.arrived = bytes;
      if (job.child?.connected) job.child.send({ arrived: bytes } satisfies Task, ignore);
    };
    return { arrived: tell, result: promise };
  }

  /** Ends all processes, whatever they do. */
  async close(): Promise<void> {
    const living = this.#all.filter((child) => child.exitCode === null && child.signalCode === null);
    const ends = living.map((child) => once(child, 'exit'));
    for (const child of living) child.kill('SIGKILL');
    await Promise.all(ends);
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const child = this.#idle.pop() ?? (this.#all.length < this.#most ? this.#start() : undefined);
    if (child !== undefined) this.#give(child, this.#waiting.shift()!);
  }

  #start(): ChildProcess {
    const child = spawn(process.execPath, [...FLAGS, '--', PROGRAM], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc', this.#lockFd],
    });
    this.#all.push(child);
    return child;
  }

  #give(child: ChildProcess, job: Job): void {
    job.child = child;
    const finish = (act: () => void) => {
      child.off('message', onMessage).off('error', onError).off('exit', onExit); // others listen, too
      delete job.child;
      act();
      this.#next();
    };
    const onMessage = (report: Report) => {
      if ('passed' in report) return job.passed(report.passed);
      this.#idle.push(child);
      finish(() => ('layer' in report ? job.resolve(report.layer) : job.reject(asError(report.failure))));
    };
    const onError = (error: Error) => finish(() => job.reject(error));
    const onExit = (code: number | null, signal: string | null) =>
      finish(() => job.reject(died(signal ?? `status ${code}`)));
    child.on('message', onMessage).on('error', onError).on('exit', onExit);
    if (child.connected) child.send(job.task, ignore);
    else finish(() => job.reject(died('it was idle')));
  }
}

/** A message that does not arrive: the process is gone, which its end tells. */
function ignore(): void {}

function asError({ message, hint, code, stack }: Failure): Error {
  if (stack !== undefined) return Object.assign(new Error(message), { stack });
  const cause = code === undefined ? {} : { cause: Object.assign(new Error(message), { code }) };
  return new ContainerError(message, { hint, ...cause });
}

/** Not the archive's fault, as far as one can know: the host's, like a failing call. */
function died(how: string): ContainerError {
  const message = `the process that unpacks it was ended (${how})`;
  return new ContainerError(message, { cause: Object.assign(new Error(how), { code: 'ECHILD' }) });
}

/** Promise.withResolvers, which Node 20 has not. */
function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
