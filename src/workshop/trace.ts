/**
 * --trace: what the kernel was given on both sides, as it was given, and what it answered. Host side. Words are made by
 * who reads it (trace-read.ts), because this runs while a container starts. Frames stay as they are, and are written
 * down whole; each before the next one goes, so that whatever ends this process, the trace has all that had come back.
 */
import { hostWatch } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { syscallNumbers } from '../core/kernel/syscalls.ts';
import { dataView, PROTOCOL_MAGIC } from '../core/stage/protocol.ts';
import { nowMs, type Observer } from '../core/stage/stage.ts';
import { watchFiles } from './trace-files.ts';
import { withoutEnvironment } from './trace-frame.ts';
import { ChangedNamespaces } from './trace-namespaces.ts';

/** As they are before they are watched. `import fs` would have the bundle make a copy of all of it. */
const { openSync, writeSync } = process.getBuiltinModule('node:fs');
const STDERR = 2;
/** So long the host's calls may wait to be written together. */
const TOGETHER_MS = 1;

/** Said in the first line; trace-read.ts reads this one. */
const TRACE_FORMAT = 2;

type HostArgs = Parameters<NonNullable<typeof hostWatch.observer>>[1];
type Frame = Parameters<NonNullable<Observer['frame']>>;

/**
 * Begins to watch. `file`: where lines of JSON go; '' is a table on standard error.
 * Throws ContainerError if it can't be written. Returns what is to be told of the stage's frames.
 */
export async function startTrace(file: string): Promise<Observer> {
  const tracer = new Tracer(file === '' ? STDERR : openTrace(file));
  if (file === '') {
    const { LiveTable } = await import('./trace-live.ts');
    const table = new LiveTable();
    tracer.shown = (records) => table.rows(records);
    process.once('exit', () => tracer.end(table.end()));
  } else process.once('exit', () => tracer.end());
  hostWatch.observer = (funcName, args, result, startedMs) => tracer.host(funcName, args, result, startedMs);
  watchFiles((name, args, result, startedMs) => tracer.told('node', name, args, result, startedMs, nowMs()));
  const observer: Observer = () => undefined;
  observer.frame = (...frame) => tracer.frame(...frame);
  return observer;
}

function openTrace(file: string): number {
  try {
    return openSync(file, 'w', 0o600);
  } catch (error) {
    throw new ContainerError(`--trace=${file} can't be written (${(error as { code?: string }).code})`, {
      cause: error,
    });
  }
}

const numberOf = syscallNumbers(process.arch);
/** Their memory says what they do. That of others may be a secret: its length is kept alone. */
const told = new Set(
  (['bpf', 'fgetxattr', 'mknodat', 'openat', 'openat2', 'renameat2', 'unlinkat'] as const).map((name) =>
    numberOf(name),
  ),
);
const setns = numberOf('setns');
const waitid = numberOf('waitid');

class Tracer {
  /** What is written in place of the records. */
  shown: ((records: string) => string) | undefined;
  private readonly fd: number;
  private readonly began = nowMs();
  private readonly namespaces = new ChangedNamespaces();
  private waiting = `{"trace":"tinyctr","format":${TRACE_FORMAT},"arch":"${process.arch}"}\n`;
  private wroteMs = 0;
  /** As it was sent last. */
  private sent: Buffer = Buffer.alloc(0);
  private failed = false;

  constructor(fd: number) {
    this.fd = fd;
  }

  host(funcName: string, args: HostArgs, result: number, startedMs: number): void {
    const endedMs = nowMs();
    let now = false; // it waits next, or somebody else acts
    let others = '';
    let kept: unknown[];
    if (funcName === 'tinyctr_send') {
      const [socket, frame, , fds, count] = args as [number, Buffer, number, Int32Array, number];
      if (frame.length > 4 && dataView(frame).getUint32(0, true) === PROTOCOL_MAGIC) this.sent = frame; // else to somebody else
      kept = [socket, frame.length, plain(fds.subarray(0, count), true)];
      now = this.waiting !== ''; // of a frame nothing is to be told before it comes back
    } else if (funcName === 'tinyctr_receive') {
      const [socket, , , fds, , count] = args as [number, Buffer, number, Int32Array, number, Int32Array];
      kept = [socket, Math.max(result, 0), plain(fds.subarray(0, count[0]), true)];
    } else {
      const nr = funcName === 'tinyctr_syscall' ? (args[0] as number) : -1;
      const isProgram = funcName === 'tinyctr_bpf_prog_load';
      kept = [];
      for (let i = 0; i < args.length; i++) {
        const arg = args[i]!;
        kept.push(typeof arg === 'number' ? arg : plain(arg, told.has(nr) || (isProgram && i === 1)));
      }
      if (funcName === 'tinyctr_spawn') {
        now = true;
        if (result > 0) others = this.namespaces.born(result, args[0] as number);
      } else if (nr === setns) this.namespaces.forChildren |= args[2] as number;
      else if (nr === waitid) now = true;
    }
    this.told('host', funcName, kept, result, startedMs, endedMs, others);
    if (now) this.write(endedMs);
  }

  told(
    side: 'host' | 'node',
    name: string,
    args: readonly unknown[],
    result: number,
    startedMs: number,
    endedMs: number,
    more = '',
  ): void {
    const at = micros(startedMs - this.began);
    const took = micros(endedMs - startedMs);
    this.waiting += `{"${side}":"${name}","at":${at},"took":${took},"result":${result},"args":${JSON.stringify(args)}${more}}\n`;
    if (endedMs - this.wroteMs > TOGETHER_MS) this.write(endedMs);
  }

  frame(number: Frame[0], calls: Frame[1], results: Frame[2], durationMs: Frame[3]): void {
    const now = nowMs();
    const steps: [string, number][] = [];
    let step: unknown;
    let changed = false;
    for (let i = 0; i < results.length; i++) {
      const call = calls[i]!;
      if (call.step === step) steps[steps.length - 1]![1]++;
      else {
        step = call.step;
        steps.push([call.step.id, 1]);
      }
      const { name } = call;
      if (name === 'unshare' || name === 'setns' || name === 'clone3') {
        this.namespaces.entered(name, call.args, results[i]);
        changed = true;
      }
    }
    const last = calls[calls.length - 1]!.name;
    const bytes = last === 'execve' || last === 'execveat' ? withoutEnvironment(this.sent) : this.sent;
    const others = changed ? this.namespaces.look() : '';
    this.waiting += `{"frame":${number},"at":${micros(now - this.began)},"took":${micros(durationMs)},"steps":${JSON.stringify(steps)},"results":${JSON.stringify(results)},"calls":"${bytes.toString('base64')}"${others}}\n`;
    this.write(now);
  }

  end(rest = ''): void {
    this.write(nowMs());
    if (rest !== '') this.append(rest);
  }

  private write(now: number): void {
    this.wroteMs = now;
    const records = this.waiting;
    if (records === '') return;
    this.waiting = '';
    this.append(this.shown ? this.shown(records) : records);
  }

  /** A disk that is full ends the trace, not the container. */
  private append(text: string): void {
    if (this.failed) return;
    try {
      const written = writeSync(this.fd, text);
      if (written < text.length)
        for (let rest = Buffer.from(text).subarray(written); rest.length > 0; )
          rest = rest.subarray(writeSync(this.fd, rest));
    } catch (error) {
      this.failed = true;
      if (this.fd !== STDERR)
        writeSync(
          STDERR,
          `tinyctr: warning: the trace ends here, it can't be written (${(error as { code?: string }).code})\n`,
        );
    }
  }
}

/** An argument as JSON can say it. */
function plain(arg: HostArgs[number], whole: boolean): unknown {
  if (typeof arg !== 'object' || arg === null) return typeof arg === 'bigint' ? String(arg) : arg;
  if (arg instanceof Int32Array) return { numbers: [...arg] };
  if (!whole) return { length: arg.length };
  return { base64: Buffer.from(arg.buffer, arg.byteOffset, arg.length).toString('base64') };
}

const micros = (ms: number): number => Math.round(ms * 1000);
