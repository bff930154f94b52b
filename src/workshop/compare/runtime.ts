/** One container by one runtime: create, start, the probe's output, the kernel's facts, kill and delete. Host side, in the comparison's own namespaces. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, read as readFd, readFileSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname } from 'node:path';
import { cgroupRoot, killCgroup, removeCgroup } from '../../core/host/cgroup.ts';
import { shim } from '../../core/host/syscall.ts';
import { cannot } from './bundle.ts';
import type { Fact } from './facts.ts';
import { parseProbe } from './inside.ts';
import { outsideFacts } from './outside.ts';
import { straceWords } from './syscalls.ts';

export interface OciRuntime {
  /** For people: runc, tinyctr-oci, or a path. */
  name: string;
  /** The program and what stands before the verb. */
  command: readonly string[];
  /** First word of its --version, for docs/differences.md. */
  kind: string;
  version: string;
}

export interface Observed {
  facts: Fact[];
  notes: string[];
  times: { createMs: number; startMs: number };
  /** What strace has written. */
  trace: string;
}

export interface Watch {
  signal: AbortSignal;
  /** config.json's masked and read-only paths. */
  hidden: readonly string[];
  /** The calls of create, and of the container until it is the probe, are noted by strace. */
  trace?: boolean;
}

/** Longer than any of it takes, also in a slow virtual machine. */
const TIMEOUT_MS = 60_000;

/** @throws ContainerError where there is no such program */
export function findRuntime(name: string, program: string): OciRuntime {
  const { error, stdout, status } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (error || status !== 0)
    throw cannot(
      `the runtime ${program} can't be run: ${error ? (error as { code?: string }).code : `--version ends with ${status}`}`,
      'compare --with takes runc, crun or the path of an OCI runtime',
    );
  const [kind = '', , version = ''] = /^(\S+)( version)? (\S+)/.exec(stdout)?.slice(1) ?? [];
  return { name, command: [program], kind, version };
}

/** `path` is the bundle's, `id` the container's. Whatever happens, nothing of the container is left. */
export async function observe(runtime: OciRuntime, path: string, terminal: boolean, watch: Watch): Promise<Observed> {
  const id = `${basename(path)}-${basename(dirname(path))}`; // 1-tinyctr-compare-PID
  const state = `${path}/state`;
  mkdirSync(state, { recursive: true });
  const tracer = watch.trace ? straceWords(`${path}/strace`) : [];
  const call = (words: readonly string[], before: readonly string[] = [], output?: number) =>
    finish(runtime, [...before, ...runtime.command, '--root', state, ...words], watch.signal, output);
  const output = openSync(`${path}/output`, 'w+');
  const console = terminal ? await listenForTerminal(`${path}/console`, output) : undefined;
  let folder: string | undefined;
  try {
    const began = performance.now();
    const socket = console ? ['--console-socket', `${path}/console`] : [];
    await call(['create', '--bundle', path, '--pid-file', `${path}/pid`, ...socket, id], tracer, output);
    const created = performance.now();
    const pid = Number(existsSync(`${path}/pid`) && readFileSync(`${path}/pid`, 'latin1'));
    if (!(pid > 1)) throw cannot(`${runtime.name} create wrote no pid file`);
    folder = cgroupOf(pid);
    await call(['start', id]);
    const started = performance.now();
    const text = await probeOutput(`${path}/output`, pid, watch.signal);
    const neutral = neutralFor(path);
    const { facts, whole, notes } = parseProbe(text, neutral);
    const ended = isGone(pid);
    if (!whole)
      notes.push(
        `${runtime.name}: the probe ${ended ? 'was ended before it was through' : 'did not come to its end'}, after ${facts.length} facts`,
      );
    if (facts.length === 0)
      throw cannot(
        `the probe told nothing under ${runtime.name}: ${text.trim() || 'it may not write, or was killed at once'}`,
      );
    return {
      facts: [
        ...(ended ? [] : outsideFacts(pid, neutral, watch.hidden)),
        ...facts,
        { group: 'process', subject: 'probe', value: whole ? 'came to its end' : 'was ended' },
      ],
      notes,
      times: { createMs: created - began, startMs: started - created },
      trace: watch.trace ? readFileSync(`${path}/strace`, 'utf8') : '',
    };
  } finally {
    await call(['delete', '--force', id]).catch(() => undefined);
    if (folder) await removeLeft(folder);
    console?.close();
    closeSync(output);
    rmSync(state, { recursive: true, force: true });
  }
}

/** Words that differ between two containers by nature. */
function neutralFor(path: string): (text: string) => string {
  return (text) =>
    text
      .replace(/lowerdir=.*?,upperdir=[^,]*,workdir=[^,]*/, 'lowerdir=…')
      .replaceAll(path, '<bundle>')
      .replaceAll(/\d[a-z]?-tinyctr-compare-\d+/g, '<id>');
}

function cgroupOf(pid: number): string {
  return `${cgroupRoot()}${/^0::(\/.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]}`;
}

/** A runtime that failed, or is no longer there, may leave its cgroup. Only one that was made for this container. */
async function removeLeft(folder: string): Promise<void> {
  if (!folder.includes('tinyctr-compare-') || !existsSync(folder)) return;
  killCgroup(folder);
  removeCgroup(folder);
}

function isGone(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^[ZX]/.test(text.slice(text.lastIndexOf(')') + 2));
  } catch {
    return true;
  }
}

async function probeOutput(file: string, pid: number, signal: AbortSignal): Promise<string> {
  for (const end = Date.now() + TIMEOUT_MS; ; ) {
    signal.throwIfAborted();
    const gone = isGone(pid); // before the file is read: what was written until then is in it
    const text = readFileSync(file, 'utf8');
    if (gone || /^end\t/m.test(text) || Date.now() > end) return text;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Runs a command of the runtime's to its end. @throws ContainerError with what it said */
function finish(runtime: OciRuntime, command: readonly string[], signal: AbortSignal, output?: number): Promise<void> {
  const [program, ...words] = command as [string, ...string[]];
  const child: ChildProcess = spawn(program, words, { stdio: ['ignore', output ?? 'pipe', output ?? 'pipe'] });
  let said = '';
  child.stdout?.on('data', (text) => {
    said += text;
  });
  child.stderr?.on('data', (text) => {
    said += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  const stop = () => child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // Not "close": a container that was left behind holds the pipes.
    child.once('exit', (code, killed) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      child.stdout?.destroy();
      child.stderr?.destroy();
      if (code === 0) resolve();
      else if (signal.aborted) reject(signal.reason);
      else {
        const text = output === undefined ? said : readWhole(output);
        const how = code === null ? `was ended by ${killed}` : `ends with ${code}`;
        reject(cannot(`${runtime.name} ${verbOf(words)} ${how}: ${text.trim()}`, hintFor(text)));
      }
    });
  });
}

/** crun raises a limit of its own, whatever config.json says. Source: capabilities(7), CapEff of /proc/self/status. */
function hintFor(text: string): string | undefined {
  const effective = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  const mayRaise = (BigInt(`0x${effective}`) >> 24n) & 1n;
  return /setrlimit.*not permitted/.test(text) && !mayRaise
    ? 'raising a limit takes CAP_SYS_RESOURCE, which root does not have here'
    : undefined;
}

const verbOf = (words: readonly string[]): string =>
  words.find((word) => ['create', 'start', 'delete'].includes(word)) ?? '';

function readWhole(fd: number): string {
  return readFileSync(`/proc/self/fd/${fd}`, 'utf8');
}

/** config.md: "terminal": the runtime sends the terminal's other end over this socket; what comes from it goes to `output`. */
async function listenForTerminal(path: string, output: number): Promise<{ close(): void }> {
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const poll = () => {
      const [fds, count] = [new Int32Array(1), new Int32Array(1)];
      const length = shim('tinyctr_receive', [fd, new Uint8Array(4096), 4096, fds, 1, count]);
      if (length === -11 /* EAGAIN */) return void setTimeout(poll, 2);
      socket.destroy();
      if (count[0] === 1) copyTerminal(fds[0]!, output);
    };
    poll();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { close: () => void server.close() };
}

/** Until the last process lets go of it: EIO. */
function copyTerminal(master: number, output: number): void {
  const buffer = Buffer.alloc(65536);
  const next = () =>
    readFd(master, buffer, 0, buffer.length, null, (error, count) => {
      if (error || count === 0) return closeSync(master);
      writeSync(output, buffer.subarray(0, count));
      next();
    });
  next();
}
