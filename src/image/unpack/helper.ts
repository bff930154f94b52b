/**
 * A process that unpacks layers for `pull`, one after another: one thread of JavaScript would be slower than the network.
 * Host side, a program of its own (dist/tinyctr-unpack.cjs). It reads a file that grows while the other side fetches it, and
 * ends with that side. Messages come and go by Node's channel (child_process).
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { syscall } from '../../core/host/syscall.ts';
import { PR_SET_PDEATHSIG } from '../../core/kernel/constants.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { type UnpackedLayer, unpackLayer } from './layer.ts';

export type Task =
  /** Unpack this file into this directory; so many of its bytes are there. */
  | { archive: string; tree: string; size: number; arrived: number }
  /** More of the same file is there now. */
  | { arrived: number };

export type Report = { passed: number } | { layer: UnpackedLayer } | { failure: Failure };

/** An error on its way between processes. */
export interface Failure {
  message: string;
  hint?: string | undefined;
  /** The errno's name of the call that failed, when that was it. */
  code?: string | undefined;
  /** What is not said for people: a mistake of ours. */
  stack?: string | undefined;
}

const READ_BYTES = 64 * 1024;
/** The other side is told each time that so much more is through. */
const REPORT_BYTES = 1024 * 1024;
const SIGKILL = 9;
let arrived = 0;
let wake = () => {};

function more(): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
  });
}

function report(message: Report): void {
  process.send!(message);
}

async function* growing(archive: string, size: number): AsyncGenerator<Buffer> {
  const fd = openSync(archive, 'r');
  try {
    for (let at = 0; at < size; ) {
      while (at >= arrived) await more();
      const chunk = Buffer.allocUnsafeSlow(READ_BYTES);
      const bytes = readSync(fd, chunk, 0, Math.min(READ_BYTES, arrived - at), at);
      if (bytes === 0) throw new ContainerError(`${archive} became shorter`);
      at += bytes;
      yield chunk.subarray(0, bytes);
      if (Math.floor(at / REPORT_BYTES) > Math.floor((at - bytes) / REPORT_BYTES)) report({ passed: at });
    }
  } finally {
    closeSync(fd);
  }
}

async function unpack(archive: string, tree: string, size: number): Promise<void> {
  try {
    report({ layer: await unpackLayer(growing(archive, size), tree) });
  } catch (error) {
    report({ failure: describe(error) });
  }
}

function describe(error: unknown): Failure {
  if (!(error instanceof ContainerError)) {
    const { message, code, stack } = error as NodeJS.ErrnoException;
    return { message, code, ...(code === undefined && { stack }) };
  }
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
  return { message: error.message, hint: error.hint, code };
}

syscall('prctl', [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {}); // the other side decides
process.on('disconnect', () => process.exit());
process.on('message', (task: Task) => {
  arrived = task.arrived;
  if ('archive' in task) void unpack(task.archive, task.tree, task.size);
  else wake();
});
