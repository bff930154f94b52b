/**
 * podman (Debian's) with tinyctr-oci in runc's place, in a world of its own: private mount and network namespaces with a
 * pure cgroup v2 view, its storage in a tmpfs there. What it makes goes with `remove`. One image: busybox.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import type { Needs } from './need.ts';
import { Engine, ociProgram, type Result, runProgram, type SpawnOptions } from './tinyctr.ts';

/** A sysfs of its own network namespace, the v2 hierarchy alone, room for podman, and ids for --userns=auto. */
const world = `mount --make-rprivate / &&
mount -t sysfs sysfs /sys && mount -t cgroup2 none /sys/fs/cgroup &&
mount -t tmpfs podman "$1" && mkdir "$1/run" && ip link set lo up &&
echo containers:100000:1000000 > "$1/ids" && for file in /etc/subuid /etc/subgid; do
  if [ -e $file ]; then mount --bind "$1/ids" $file; fi
done && echo ready && exec sleep infinity`;

/** These machines have no CAP_SYS_RESOURCE and no controllers in cgroup v2. */
const configuration = (runtime: string) => `
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:20000", "nproc=32768:32768"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "${runtime}"
runtime_supports_json = ["tinyctr-oci", "runc"]
runtime_supports_nocgroup = ["tinyctr-oci"]
[engine.runtimes]
tinyctr-oci = ["${ociProgram}"]
runc = ["/usr/sbin/runc"]
`;

/** What a test of podman needs. */
export const podmanNeeds: Needs = { root: true, command: ['podman', 'conmon', 'unshare', 'nsenter'] };

export class Podman {
  readonly engine: Engine;
  private readonly folder: string;
  private readonly holder: ChildProcess;
  private readonly environment: Record<string, string>;

  /** For the tests of a describe: in an engine of its own, which goes with `end`. */
  static async start(): Promise<Podman> {
    const engine = await new Engine().prepare();
    return await new Podman(engine).prepare(engine);
  }

  async end(): Promise<void> {
    await this.remove();
    this.engine.remove();
  }

  /** Runs as a process of its own until `remove`; `prepare` waits for it. */
  constructor(engine: Engine, runtime: 'tinyctr-oci' | 'runc' = 'tinyctr-oci') {
    this.engine = engine;
    this.folder = `${engine.folder}/podman-${runtime}`;
    mkdirSync(this.folder);
    writeFileSync(`${engine.folder}/${runtime}.conf`, configuration(runtime));
    this.environment = { CONTAINERS_CONF: `${engine.folder}/${runtime}.conf`, HOME: '/root' };
    this.holder = spawn('unshare', ['-m', '-n', 'sh', '-c', world, 'sh', this.folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  /** The words that start podman in its world. */
  get command(): readonly string[] {
    const storage = [
      '--root',
      `${this.folder}/storage`,
      '--runroot',
      `${this.folder}/run`,
      '--tmpdir',
      `${this.folder}/tmp`,
    ];
    return ['nsenter', '-m', '-n', '-t', String(this.holder.pid), 'podman', ...storage];
  }

  /** The environment that `command` wants. */
  get env(): Record<string, string> {
    return this.environment;
  }

  run(...words: string[]): Promise<Result> {
    return this.runWith({}, ...words);
  }

  runWith(options: SpawnOptions, ...words: string[]): Promise<Result> {
    const [program, ...first] = this.command;
    return runProgram(program!, [...first, ...words], { ...options, env: { ...this.env, ...options.env } });
  }

  /** Imports busybox's root filesystem as the image "busybox". `engine` is prepared. */
  async prepare(engine: Engine): Promise<this> {
    await new Promise((resolve, reject) => {
      this.holder.stdout!.once('data', resolve);
      this.holder.once('exit', () => reject(new Error('no world of its own for podman')));
    });
    const archive = `${engine.folder}/busybox.tar`;
    await runProgram('tar', ['-C', engine.rootfs(), '-cf', archive, '.']);
    const { code, stderr } = await this.run('import', '--change', 'CMD=sh', archive, 'busybox');
    if (code !== 0) throw new Error(`podman import ended with ${code}: ${stderr}`);
    return this;
  }

  /** All containers, then the world itself. Throws if one of its cgroups is left. */
  async remove(): Promise<void> {
    const { stdout } = await this.run('ps', '--all', '--no-trunc', '--quiet');
    await this.run('rm', '--all', '--force', '--time', '0');
    const ended = new Promise((resolve) => this.holder.once('exit', resolve));
    this.holder.kill('SIGKILL');
    await ended;
    const parent = `${cgroupRoot()}/libpod_parent`; // which other podmans on this machine share
    const left = stdout.split('\n').filter((id) => id !== '' && existsSync(`${parent}/libpod-${id}`));
    if (left.length > 0) throw new Error(`podman's containers have left their cgroups: ${left.join(', ')}`);
    for (let tries = 0; tries < 20 && (await runProgram('rmdir', [`${parent}/conmon`, parent])).code !== 0; tries++)
      await new Promise((resolve) => setTimeout(resolve, 50)); // the last conmon is about to end
  }
}
