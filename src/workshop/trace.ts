/**
 * --trace: every system call of both sides, noted in memory as it returns, and written when the container runs and at the
 * end. Host side. Frames stay as they are: a duration is the whole frame's, and calls of one frame share it.
 */
import { openSync, writeSync } from 'node:fs';
import { hostWatch } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { syscallNames, syscallNumbers } from '../core/kernel/syscalls.ts';
import type { Arg } from '../core/stage/protocol.ts';
import type { Observer } from '../core/stage/stage.ts';
import { deviceProgramInWords } from './device-words.ts';
import { cloneNames } from './host-steps.ts';
import { straceCall } from './strace.ts';
import { formatTrace, type TraceLine } from './trace-format.ts';

type HostArgs = Parameters<NonNullable<typeof hostWatch.observer>>[1];
type StageEvent = Parameters<Observer>[0];
type Noted =
  | { side: 'host'; atMs: number; ms: number; funcName: string; args: HostArgs; result: number }
  | { side: 'stage'; atMs: number; event: StageEvent };

/** What the functions of native-shim are to the kernel. */
const shimCalls: Record<string, string> = {
  tinyctr_spawn: 'clone3',
  tinyctr_send: 'sendmsg',
  tinyctr_receive: 'recvmsg',
  tinyctr_bpf_prog_load: 'bpf',
};

/**
 * Begins to watch. `file`: where JSON lines go, one a call; '' is a table on standard error at the end.
 * Throws ContainerError if it can't be written. Returns what is to be told of the stage's calls.
 */
export function startTrace(file: string): Observer {
  const fd = file === '' ? undefined : openTrace(file);
  const began = performance.now();
  const noted: Noted[] = [];
  const lines = new TraceLines();
  const write = () => {
    const some = noted.splice(0).map((one) => lines.of(one));
    if (some.length === 0) return;
    if (fd === undefined) writeSync(2, formatTrace(some));
    else writeSync(fd, some.map((line) => `${JSON.stringify(line)}\n`).join(''));
  };
  hostWatch.observer = (funcName, args, result, startedMs) => {
    const ms = performance.now() - startedMs;
    // Int32Array arguments are filled by the call; larger memory is only counted.
    noted.push({ side: 'host', atMs: startedMs - began, ms, funcName, args, result });
  };
  process.once('exit', write);
  const observer: Observer = (event) => {
    noted.push({ side: 'stage', atMs: performance.now() - began, event });
    // The container runs: whoever follows the file need not wait for its end.
    if (fd !== undefined && /^execve/.test(event.name)) setImmediate(write);
  };
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

const namespaceNames: readonly (readonly [flag: number, name: string])[] = [
  [k.CLONE_NEWUSER, 'user'],
  [k.CLONE_NEWNS, 'mnt'],
  [k.CLONE_NEWPID, 'pid'],
  [k.CLONE_NEWUTS, 'uts'],
  [k.CLONE_NEWIPC, 'ipc'],
  [k.CLONE_NEWNET, 'net'],
  [k.CLONE_NEWCGROUP, 'cgroup'],
  [k.CLONE_NEWTIME, 'time'],
];

/** From what was noted to what is written; knows which namespaces the stage has come into so far. */
class TraceLines {
  private namespaces = 0;
  private readonly names = new Map(syscallNames().map((name) => [syscallNumbers(process.arch)(name), name]));

  of(noted: Noted): TraceLine {
    return noted.side === 'host' ? this.host(noted) : this.stage(noted);
  }

  private host({ atMs, ms, funcName, args, result }: Extract<Noted, { side: 'host' }>): TraceLine {
    const isSyscall = funcName === 'tinyctr_syscall';
    const name = isSyscall
      ? (this.names.get(Number(args[0])) ?? `syscall ${args[0]}`)
      : (shimCalls[funcName] ?? funcName);
    if (funcName === 'tinyctr_spawn') this.namespaces = Number(args[0]);
    const call = funcName === 'tinyctr_spawn' ? `clone3({flags=${cloneNames(Number(args[0]))}})` : undefined;
    const text = call ?? `${name}(${(isSyscall ? args.slice(1) : args).map(shown).join(', ')})`;
    const line = { side: 'host', atMs: round(atMs), name, call: text, result, ms: round(ms), namespaces: [] } as const;
    if (funcName !== 'tinyctr_bpf_prog_load') return line;
    const program = args[1] as Uint8Array;
    const attr = `{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=${program.length / 8}}`;
    return { ...line, call: `bpf(BPF_PROG_LOAD, ${attr})`, words: deviceProgramInWords(program) };
  }

  private stage({ atMs, event }: Extract<Noted, { side: 'stage' }>): TraceLine {
    const { step, name, args, result, durationMs, frame } = event;
    if (result >= 0) this.namespaces |= entered(name, args);
    const { namespaces } = this;
    return {
      ...{ side: 'stage', atMs: round(atMs), step: step.id, frame, name, call: straceCall(name, args), result },
      ms: round(durationMs),
      namespaces: namespaceNames.flatMap(([flag, text]) => (namespaces & flag ? [text] : [])),
    };
  }
}

/** CLONE_NEW* of the namespaces that a call has brought its process into. */
function entered(name: string, args: readonly Arg[]): number {
  if (name === 'unshare') return Number(args[0]);
  if (name === 'setns') return Number(args[1]);
  const [made] = args;
  return name === 'clone3' && made instanceof Uint8Array
    ? Number(new DataView(made.buffer, made.byteOffset).getBigUint64(0, true))
    : 0;
}

function shown(arg: HostArgs[number]): string {
  if (arg === null) return 'NULL';
  if (typeof arg === 'string') return JSON.stringify(arg);
  return typeof arg === 'object' ? `[${arg.byteLength} bytes]` : String(arg);
}

/** To a microsecond. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;
