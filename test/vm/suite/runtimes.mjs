// tinyctr-oci, runc and crun behind one face: a bundle around busybox with the resources of a case, run in the foreground in a cgroup
// that the test knows, so that it can read the kernel's files beside it. Runs in the guest.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { busyboxRootfs, checkout, collect, run } from './support.mjs';

const MUST = process.env.TINYCTR_MUST_WORK === '1';
const rootfs = busyboxRootfs();

/** The three, with their version as they say it; `missing` is the reason why one can't be tested. */
export const runtimes = [
  ['tinyctr-oci', `${checkout}/bin/tinyctr-oci`],
  ['runc', 'runc'],
  ['crun', 'crun'],
].map(([name, program]) => {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (status !== 0 && MUST) throw new Error(`${name} is not installed`);
  const version = /\d+\.\d+(\.\d+)?/.exec(stdout ?? '')?.[0] ?? '';
  const global = [program, '--root', mkdtempSync(`/tmp/${name}-`)];
  return { name, version, missing: status === 0 ? false : `${name} is not installed`, global };
});

export const CGROUPS = '/sys/fs/cgroup';
let count = 0;

/** The runtime's command with its arguments, to its end. */
export const call = ({ global: [program, ...options] }, ...args) => run(program, [...options, ...args]);

/**
 * Starts `sh -c script` in a new container. `resources` is linux.resources, beside which `change(spec)` may change everything.
 * `ended` resolves with { code, stdout, stderr }; `file(name)` reads a file of its cgroup, '' when there is none;
 * `ready` is true once it has printed that word.
 */
export function start(runtime, { resources = {}, script, change = () => {}, parent = 'cases' }) {
  count += 1;
  const id = `${runtime.name}-${count}`;
  const bundle = mkdtempSync('/tmp/bundle-');
  const spec = defaultSpec();
  spec.root = { path: rootfs, readonly: true };
  spec.process = { ...spec.process, terminal: false, args: ['sh', '-c', script] };
  spec.linux.cgroupsPath = `/${parent}/${id}`;
  spec.linux.resources = { ...spec.linux.resources, ...resources };
  change(spec);
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  const [program, ...options] = runtime.global;
  const child = spawn(program, [...options, 'run', '--bundle', bundle, id], { stdio: ['ignore', 'pipe', 'pipe'] });
  const cgroup = `${CGROUPS}/${parent}/${id}`;
  const file = (name) => (existsSync(`${cgroup}/${name}`) ? readFileSync(`${cgroup}/${name}`, 'utf8').trim() : '');
  const container = {
    id,
    cgroup,
    file,
    ready: false,
    ended: collect(child),
    call: (...args) => call(runtime, ...args),
  };
  child.stdout.on('data', (text) => {
    container.ready ||= String(text).includes('ready');
  });
  container.kill = async () => {
    await container.call('kill', id, 'KILL');
    return container.ended;
  };
  return container;
}

/** start, and its end. */
export const runIn = (runtime, what) => start(runtime, what).ended;

let template;
/** What `runc spec` writes, the same for all three. */
function defaultSpec() {
  if (!template) {
    const folder = mkdtempSync('/tmp/spec-');
    const made = spawnSync(runtimes[1].missing ? runtimes[0].global[0] : 'runc', ['spec', '--bundle', folder]);
    if (made.status !== 0) throw new Error(`spec: ${made.stderr}`);
    const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    delete spec.process.capabilities.ambient; // an older runc writes some that could never be
    template = JSON.stringify(spec);
  }
  return JSON.parse(template);
}

/** A number of a "key value" file such as cpu.stat; 0 when it is not there. */
export const numberOf = (text, key) => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
