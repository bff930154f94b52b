/**
 * --trace: every system call of both sides, told as it returns. Host side. Frames stay as they are: a duration is the
 * whole frame's, and calls of one frame share it. Each frame's lines are written before the next frame goes, so that
 * whatever ends this process, the trace has all that had come back.
 */
import { hostWatch } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { nowMs, type Observer } from '../core/stage/stage.ts';
import { type HostArgs, hostCall } from './host-calls.ts';
import { watchFiles } from './host-files.ts';
import { straceCall } from './strace.ts';
import { JsonLines, Table, type TraceLine } from './trace-format.ts';
import { StageNamespaces } from './trace-namespaces.ts';

/** As they are before they are watched. `import fs` would have the bundle make a copy of all of it. */
const { openSync, writeSync } = process.getBuiltinModule('node:fs');
const STDERR = 2;
/** So long the host's calls may wait to be written together. */
const TOGETHER_MS = 1;

/**
 * Begins to watch. `file`: where JSON lines go, one a call; '' is a table on standard error.
 * Throws ContainerError if it can't be written. Returns what is to be told of the stage's calls.
 */
export function startTrace(file: string): Observer {
  const tracer = file === '' ? new Tracer(STDERR, new Table()) : new Tracer(openTrace(file), new JsonLines());
  hostWatch.observer = (funcName, args, result, startedMs) => tracer.host(funcName, args, result, startedMs);
  watchFiles((name, call, result, startedMs) => tracer.onHost(name, call, result, startedMs, nowMs()));
  process.once('exit', () => tracer.end());
  const observer: Observer = (event) => tracer.stage(event);
  observer.together = true;
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

/** The runtime's own. */
const none = {};

type StageEvent = Parameters<Observer>[0];

class Tracer {
  private readonly fd: number;
  private readonly format: Table | JsonLines;
  private readonly began = nowMs();
  private readonly namespaces = new StageNamespaces();
  private waiting: TraceLine[] = [];
  private wroteMs = 0;
  private frame = 0;
  private frameAtMs = 0;
  private frameMs = 0;
  private failed = false;

  constructor(fd: number, format: Table | JsonLines) {
    this.fd = fd;
    this.format = format;
  }

  host(funcName: string, args: HostArgs, result: number, startedMs: number): void {
    const endedMs = nowMs();
    if (funcName === 'tinyctr_spawn' && result > 0) this.namespaces.born(result);
    const { name, call, words } = hostCall(funcName, args, result);
    this.onHost(name, call, result, startedMs, endedMs, words);
    if (name === 'clone3' || name === 'waitid' || name === 'sendmsg') this.write(endedMs); // now it waits, or somebody else acts
  }

  onHost(
    name: string,
    call: string,
    result: number,
    startedMs: number,
    endedMs: number,
    words?: readonly string[],
  ): void {
    const [atMs, ms] = [round(startedMs - this.began), round(endedMs - startedMs)];
    const frame = undefined;
    this.waiting.push({ side: 'host', atMs, step: undefined, frame, name, call, words, result, ms, namespaces: none });
    if (endedMs - this.wroteMs > TOGETHER_MS) this.write(endedMs);
  }

  stage({ step, name, args, result, durationMs, frame, left }: StageEvent): void {
    if (frame !== this.frame) {
      this.frame = frame;
      this.frameAtMs = round(nowMs() - this.began);
      this.frameMs = round(durationMs);
    }
    if (result === undefined || result >= 0) this.namespaces.entered(name, args, result);
    const call = straceCall(name, args);
    const { frameAtMs: atMs, frameMs: ms } = this;
    const namespaces = this.namespaces.others;
    this.waiting.push({
      side: 'stage',
      atMs,
      step: step.id,
      frame,
      name,
      call,
      result: result ?? null,
      ms,
      namespaces,
    });
    if (left === 0) this.write();
  }

  end(): void {
    this.write();
    this.append(this.format.end());
  }

  private write(now = nowMs()): void {
    this.wroteMs = now;
    const lines = this.waiting;
    if (lines.length === 0) return;
    this.waiting = [];
    this.append(this.format.rows(lines));
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

/** To a microsecond. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;
