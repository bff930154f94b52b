/**
 * bin/tinyctr as a user starts it, with an image store and a run folder of its own in a temporary folder, and what such a
 * test looks at afterwards: cgroups, mounts, processes and files that were left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';

/** The top folder of this checkout, without a slash at the end. */
export const checkout = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');

/** What is called as tinyctr-oci: another build of it, such as the one file of `npm run build:bun`, with TINYCTR_TEST_OCI. */
export const ociProgram = resolve(process.env.TINYCTR_TEST_OCI ?? `${checkout}/bin/tinyctr-oci`);

export interface Result {
  /** Null when a signal ended the program. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface SpawnOptions {
  /** What the program reads from a pipe; without it standard input is /dev/null. */
  input?: string | Buffer;
  env?: Record<string, string>;
  cwd?: string;
  /** Longer than it needs; it is killed then. */
  timeoutMs?: number;
  /** Called with standard output so far whenever there is more. */
  onStdout?: (text: string, child: ChildProcess) => void;
}

/** Longer than any of these programs needs: one that hangs is killed, and `signal` tells. */
const TIMEOUT_MS = 40_000;

/** Runs a program to its end. Rejects if it can't be started. */
export function runProgram(command: string, args: readonly string[], options: SpawnOptions = {}): Promise<Result> {
  const child = spawn(command, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return collect(child, options);
}

function collect(child: ChildProcess, { input, onStdout, timeoutMs = TIMEOUT_MS }: SpawnOptions): Promise<Result> {
  const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  const text = (name: 'stdout' | 'stderr') => Buffer.concat(chunks[name]).toString('utf8');
  child.stdout!.on('data', (data: Buffer) => {
    chunks.stdout.push(data);
    onStdout?.(text('stdout'), child);
  });
  child.stderr!.on('data', (data: Buffer) => chunks.stderr.push(data));
  child.stdin?.on('error', () => {}); // EPIPE: the program did not read all of it
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout: text('stdout'), stderr: text('stderr') });
    });
  });
}

/** One store, one run folder; `remove` takes both away. */
export class Engine {
  /** The temporary folder around them; room for a test's own files. */
  readonly folder = mkdtempSync(`${tmpdir()}/tinyctr-test-`);
  readonly root = `${this.folder}/root`;
  readonly runRoot = `${this.folder}/run`;
  private images = 0;
  /** The folder of the embedded image's layer. */
  private embedded = '';

  /** The program and the global options, for whoever starts it by himself. */
  readonly command: readonly string[] = [`${checkout}/bin/tinyctr`, '--root', this.root, '--run-root', this.runRoot];

  run(...words: string[]): Promise<Result> {
    return this.runWith({}, ...words);
  }

  /** What it printed, without the last line feed. Throws if it failed, or said anything on standard error. */
  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words);
    if (code !== 0 || stderr !== '') throw new Error(`tinyctr ${words.join(' ')} ended with ${code}: ${stderr}`);
    return stdout.trim();
  }

  runWith(options: SpawnOptions, ...words: string[]): Promise<Result> {
    return runProgram(this.command[0]!, [...this.command.slice(1), ...words], options);
  }

  /** Starts it and leaves it running, without input and output. */
  spawn(...words: string[]): ChildProcess {
    return spawn(this.command[0]!, [...this.command.slice(1), ...words], { stdio: 'ignore' });
  }

  /** `tinyctr run --rm OPTIONS busybox sh -c SCRIPT`. */
  shell(script: string, ...options: string[]): Promise<Result> {
    return this.run('run', '--rm', ...options, 'busybox', 'sh', '-c', script);
  }

  /** Imports busybox's root filesystem, changed by `change`, as a new image. Returns its name. */
  async image(change: (rootfs: string) => void): Promise<string> {
    const rootfs = this.rootfs();
    change(rootfs);
    const name = `changed-${++this.images}`;
    const { code, stderr } = await this.run('import', rootfs, name);
    if (code !== 0) throw new Error(`import failed: ${stderr}`);
    return name;
  }

  /** A copy of the embedded image's root filesystem; `prepare` must have run. */
  rootfs(): string {
    const target = mkdtempSync(`${this.folder}/rootfs-`);
    cpSync(this.embedded, target, { recursive: true, verbatimSymlinks: true });
    return target;
  }

  /** Unpacks the embedded image, so that no test pays for it in its own time. */
  async prepare(): Promise<this> {
    const { code, stderr } = await this.run('run', '--rm', 'busybox', 'true');
    if (code !== 0) throw new Error(`tinyctr run busybox true ended with ${code}: ${stderr}`);
    const layers = readdirSync(`${this.root}/layers`).map((name) => `${this.root}/layers/${name}`);
    this.embedded = layers.find((layer) => existsSync(`${layer}/bin/busybox`)) ?? '';
    return this;
  }

  /** Ids of all containers that have a record or only a folder, running or not. */
  containers(): string[] {
    return folder(`${this.root}/containers`).filter((name) => /^[0-9a-f]{64}$/.test(name));
  }

  /** What is in the run folder: ids of containers that run, or whose end nobody has cleaned up. */
  states(): string[] {
    return folder(this.runRoot).filter((name) => !name.startsWith('.supervisor.'));
  }

  /** Ends what runs in the background, and waits until supervisor and keeper have gone by themselves. */
  async quiet(): Promise<void> {
    const ids = this.containers();
    if (ids.length > 0) await this.run('rm', '-f', ...ids);
    await until('the supervisor is gone', () => !existsSync(`${this.runRoot}/.supervisor.sock`), 20_000);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A folder's entries; none when it is not there. */
function folder(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

/** A new empty folder of this engine's for a test's files. */
export function scratch(engine: Engine): string {
  return mkdtempSync(`${engine.folder}/scratch-`);
}

/** The cgroups of tinyctr's containers, by name. */
export function cgroups(): string[] {
  const path = `${cgroupRoot()}/tinyctr`;
  return existsSync(path)
    ? readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
    : [];
}

/** This machine's mounts that have to do with a folder: nothing a container does may add one. */
export function mountsBelow(path: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(path));
}

/** Pids of processes whose environment has this entry: a container's processes, when they were started with -e. */
export function processesWith(entry: string): number[] {
  return folder('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => readIfThere(`/proc/${pid}/environ`).split('\0').includes(entry))
    .map(Number);
}

/** '' where there is no such file, or no such process any more. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until `condition` is true; throws after `timeoutMs`. */
export async function until(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  for (const end = Date.now() + timeoutMs; !condition(); ) {
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
