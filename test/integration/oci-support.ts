/** tinyctr-oci and runc, called alike: bundles, a root of its own for each, and what a test looks at afterwards. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { defaultSpec } from '../../src/oci/default-spec.ts';
import type { Spec } from '../../src/spec/types.ts';
import { need } from '../support/need.ts';
import { Engine, ociProgram, type Result, runProgram } from '../support/tinyctr.ts';

const pureV2 =
  'mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec runc "$@"';

/** Each with the words that start it; runc in a view of the machine that has cgroup v2 only. */
const known: Record<string, readonly string[]> = {
  'tinyctr-oci': [ociProgram],
  ...(need({ root: true, command: 'runc' }) === undefined
    ? { runc: ['unshare', '-m', 'bash', '-c', pureV2, 'runc'] }
    : {}),
};

/** Which runtime the cases are for; `npm run test:runc` says runc. Without it: tinyctr-oci, and for common cases runc too. */
const chosen = process.env.TINYCTR_TEST_RUNTIME;
if (chosen !== undefined && !known[chosen]) throw new Error(`TINYCTR_TEST_RUNTIME: no ${chosen} here for root to call`);

/** For the cases that `npm test` runs with each. */
export const runtimes: readonly string[] = chosen === undefined ? Object.keys(known) : [chosen];

/** For the cases that `npm test` runs with tinyctr-oci alone. */
export const runtime = chosen ?? 'tinyctr-oci';

/**
 * For a case that runc does not pass, and must not: the day it does, the case fails and the key goes from
 * docs/differences.md, which says under it what differs and why. As options of a test or a describe.
 */
export function differs(name: string, _key: string): { fails?: boolean } {
  return name === 'runc' ? { fails: true } : {};
}

/** For a case that runc can't be asked: it looks at what only tinyctr-oci has, as the reason says. */
export function ours(name: string, reason: string): { skip?: boolean; meta?: object } {
  return name === 'runc' ? { skip: true, meta: { skipReason: reason } } : {};
}

/** V8 says where a text stops being JSON; JavaScriptCore, which Bun has, does not. */
export function jsonPlace(place: string): string {
  return process.env.TINYCTR_TEST_OCI === undefined ? place : ': JSON Parse error';
}

/** Takes one descriptor from a unix socket and prints what comes from it. */
export const terminalClient = `
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
master = socket.recv_fds(server.accept()[0], 100, 1)[1][0]
while True:
    try:
        sys.stdout.write(os.read(master, 4096).decode())
    except OSError:
        break
`;

export class Runtime {
  readonly engine: Engine;
  readonly folder: string;
  readonly root: string;
  /** Without `--root`. */
  readonly program: readonly string[];
  readonly command: readonly string[];
  private readonly rootfs: string;
  private readonly parent: string;

  /** In an engine of its own, which goes with `end`. */
  static async prepare(name: string): Promise<Runtime> {
    return new Runtime(await new Engine().prepare(), name);
  }

  constructor(engine: Engine, name: string) {
    this.engine = engine;
    this.folder = mkdtempSync(`${engine.folder}/oci-`);
    this.root = `${this.folder}/root`;
    this.program = known[name]!;
    this.command = [...this.program, '--root', this.root];
    this.parent = name === 'runc' ? '' : '/tinyctr-oci';
    this.rootfs = engine.rootfs();
    chmodSync(this.rootfs, 0o755);
  }

  /** Of a container whose config.json names none; below the root of the hierarchy. */
  cgroup(id: string): string {
    return `${this.parent}/${id}`;
  }

  call(...words: string[]): Promise<Result> {
    return runProgram(this.command[0]!, [...this.command.slice(1), ...words]);
  }

  /** With standard output and error in a file, which the container keeps open. */
  async create(
    bundle: string,
    id: string,
    ...options: string[]
  ): Promise<{ code: number | null; output: () => string }> {
    const file = `${this.folder}/output-${id}`;
    const fd = openSync(file, 'w');
    const words = [...this.command.slice(1), 'create', '--bundle', bundle, ...options, id];
    const child = spawn(this.command[0]!, words, { stdio: ['ignore', fd, fd] });
    closeSync(fd);
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    return { code, output: () => readFileSync(file, 'utf8') };
  }

  run(bundle: string, id: string, ...options: string[]): Promise<Result> {
    return this.call('run', '--bundle', bundle, ...options, id);
  }

  /** A folder with a root filesystem and a config.json that runs `script`. */
  bundle(script: string, change: (spec: Spec) => void = () => {}): string {
    const folder = mkdtempSync(`${this.folder}/bundle-`);
    // Links: no test changes a file of the image, and copying takes longer than running.
    spawnSync('cp', ['-al', this.rootfs, `${folder}/rootfs`]);
    const spec = structuredClone(defaultSpec);
    Object.assign(spec.process!, { terminal: false, args: ['sh', '-c', script] });
    change(spec);
    writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
    return folder;
  }

  async status(id: string): Promise<string> {
    const { code, stdout, stderr } = await this.call('state', id);
    return code === 0 ? (JSON.parse(stdout) as { status: string }).status : stderr;
  }

  async untilStatus(id: string, wanted: string): Promise<void> {
    for (const end = Date.now() + 5000; ; ) {
      const found = await this.status(id);
      if (found === wanted) return;
      if (Date.now() > end) throw new Error(`${id} is ${found}, not ${wanted}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async deleteAll(): Promise<void> {
    const { stdout } = await this.call('list', '-q');
    for (const id of stdout.split('\n').filter(Boolean)) await this.call('delete', '--force', id);
  }

  /** With all containers, and the engine. */
  async end(): Promise<void> {
    await this.deleteAll();
    this.engine.remove();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
