/** A Docker daemon with folders of its own, in mount and network namespaces of its own: for its archives, not to run containers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { type Result, runProgram, until } from './tinyctr.ts';

/** What a test needs of the machine: `needs(DOCKER_NEEDS)`. */
export const DOCKER_NEEDS: { root: true; command: string[] } = {
  root: true,
  command: ['dockerd', 'docker', 'containerd'],
};

export class Docker {
  private readonly folder: string;
  private readonly daemon: ChildProcess;

  private constructor(folder: string, daemon: ChildProcess) {
    this.folder = folder;
    this.daemon = daemon;
  }

  /** `folder` is made, and removed at the end. Throws with the daemon's log when it does not come up. */
  static async start(folder: string): Promise<Docker> {
    mkdirSync(folder);
    const folders = ['--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`, '--pidfile', `${folder}/pid`];
    const network = ['--host', `unix://${folder}/socket`, '--bridge', 'none', '--iptables=false', '--ip6tables=false'];
    const manner = ['--storage-driver', 'vfs', '--oom-score-adjust', '0'];
    const script = 'mount --make-rprivate / && ip link set lo up && exec dockerd "$@"';
    const daemon = spawn('unshare', ['-mn', 'sh', '-c', script, 'sh', ...folders, ...network, ...manner], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(`${folder}/log`);
    daemon.stdout!.pipe(log, { end: false });
    daemon.stderr!.pipe(log, { end: false });
    const dead = () => daemon.exitCode !== null || daemon.signalCode !== null;
    const said = () => (existsSync(`${folder}/log`) ? readFileSync(`${folder}/log`, 'utf8') : '');
    await until('dockerd listens', () => dead() || said().includes('API listen on'), 60_000);
    if (dead()) throw new Error(`dockerd ended: ${said()}`);
    return new Docker(folder, daemon);
  }

  call(...words: string[]): Promise<Result> {
    return runProgram('docker', words, { env: { DOCKER_HOST: `unix://${this.folder}/socket` } });
  }

  /** Its standard output. Throws with what it said when it fails. */
  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.call(...words);
    if (code !== 0) throw new Error(`docker ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** Ends it, with the containerd that it started. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.daemon.once('exit', resolve));
    if (this.daemon.exitCode === null && this.daemon.signalCode === null) {
      this.daemon.kill('SIGTERM');
      const late = setTimeout(() => this.daemon.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(late);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
