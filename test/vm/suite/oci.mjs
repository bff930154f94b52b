// A container of tinyctr-oci or runc that runs in the background, for tests that look at its cgroup.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { busyboxRootfs, checkout, line, run } from './support.mjs';

const CGROUPS = '/sys/fs/cgroup';
const MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  { destination: '/tmp', type: 'tmpfs', source: 'tmpfs' },
];
let count = 0;

export class Container {
  constructor(runtime = 'tinyctr-oci') {
    count += 1;
    this.id = `vm-oci-${process.pid}-${count}`;
    this.folder = mkdtempSync('/tmp/oci-');
    this.program = runtime === 'runc' ? 'runc' : `${checkout}/bin/tinyctr-oci`;
    this.cgroup = `${CGROUPS}/vm-oci-test/${this.id}`;
  }

  /** A verb of the runtime, to its end. */
  call(...words) {
    return run(this.program, ['--root', `${this.folder}/root`, ...words]);
  }

  /** Starts a shell script under an OCI `linux.resources` object. Its output goes to a file. */
  async start(resources, script) {
    const config = {
      ociVersion: '1.0.2',
      process: { user: { uid: 0, gid: 0 }, args: ['sh', '-c', script], env: ['PATH=/bin'], cwd: '/' },
      root: { path: busyboxRootfs() },
      mounts: MOUNTS,
      linux: {
        cgroupsPath: this.cgroup.slice(CGROUPS.length),
        namespaces: ['pid', 'mount', 'ipc', 'uts', 'network', 'cgroup'].map((type) => ({ type })),
        resources,
      },
    };
    writeFileSync(`${this.folder}/config.json`, JSON.stringify(config));
    const output = openSync(`${this.folder}/output`, 'w');
    const words = ['--root', `${this.folder}/root`, 'create', '--bundle', this.folder, this.id];
    const child = spawn(this.program, words, { stdio: ['ignore', output, output] });
    closeSync(output);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    const started = code === 0 ? await this.call('start', this.id) : { code, stderr: this.output() };
    if (started.code !== 0) throw new Error(`${this.program}: ${started.stderr}`);
    return this;
  }

  output() {
    return readFileSync(`${this.folder}/output`, 'utf8');
  }

  /** A one-line file of the cgroup. */
  read(file) {
    return line(`${this.cgroup}/${file}`);
  }

  /** `field value` of a file such as cpu.stat. */
  count(file, field) {
    return Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(readFileSync(`${this.cgroup}/${file}`, 'utf8'))?.[1]);
  }

  remove() {
    return this.call('delete', '--force', this.id);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for at most a minute. */
export async function until(what, holds) {
  for (const end = Date.now() + 60_000; !(await holds()); await sleep(50))
    if (Date.now() > end) throw new Error(`${what} did not come`);
}
