// What the VM's test files share: running a program to its end, tinyctr with a store of its own, and runc as the
// yardstick. Runs in the guest only: the tests do what would hurt a machine if tinyctr were wrong.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';

if (process.env.TINYCTR_VM !== '1') throw new Error('test/vm/suite runs in the VM only: start it with test/vm/run.sh');

/** Software emulation is 10 to 20 times slower than the machine: no program here needs a tenth of this natively. */
const TIMEOUT_MS = 120_000;
const BUSYBOX = '/run/vm/busybox';
export const checkout = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');

/** Runs a program without stdin. `code` is null when it did not start, or when a signal ended it (SIGKILL after TIMEOUT_MS). */
export function run(command, args) {
  return collect(spawn(command, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] }));
}

/** The same of a child that was started already. */
export function collect(child) {
  const result = { code: null, signal: null, stdout: '', stderr: '' };
  child.stdout.on('data', (data) => {
    result.stdout += data;
  });
  child.stderr.on('data', (data) => {
    result.stderr += data;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  return new Promise((resolve) => {
    child.on('error', (error) => {
      result.stderr += error.message;
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      // A program that was not found closes with -2 (ENOENT).
      resolve({ ...result, code: code !== null && code >= 0 ? code : null, signal });
    });
  });
}

const store = mkdtempSync('/tmp/tinyctr-');

/** tinyctr of this checkout with a store and state folder of this test file's own. */
export function tinyctr(...args) {
  return run(`${checkout}/bin/tinyctr`, ['--root', `${store}/root`, '--run-root', `${store}/run`, ...args]);
}

/** Makes a root filesystem of nothing but busybox; gives its path. */
export function busyboxRootfs() {
  const rootfs = mkdtempSync('/tmp/rootfs-');
  for (const dir of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp']) mkdirSync(`${rootfs}/${dir}`);
  cpSync(BUSYBOX, `${rootfs}/bin/busybox`);
  for (const name of ['sh', 'cat', 'dd', 'grep', 'mkdir', 'mknod', 'mount', 'rmdir', 'sleep', 'unshare'])
    symlinkSync('busybox', `${rootfs}/bin/${name}`);
  return rootfs;
}

let bundles = 0;

/** Runs a shell script with runc under an OCI `linux.resources` object, in a default bundle (`runc spec`) around busybox. */
export async function runc(resources, script) {
  const rootfs = busyboxRootfs();
  const bundle = mkdtempSync('/tmp/bundle-');
  await run('runc', ['spec', '--bundle', bundle]);
  const spec = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8'));
  spec.root.path = rootfs;
  spec.process = { ...spec.process, terminal: false, args: ['sh', '-c', script] };
  spec.linux.resources = { ...spec.linux.resources, ...resources };
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  bundles += 1;
  return run('runc', ['run', '--bundle', bundle, `vm-${process.pid}-${bundles}`]);
}

/** Why tests against runc can't run here, or false. CI must have it. */
export function runcMissing() {
  if (spawnSync('runc', ['--version']).status === 0) return false;
  if (process.env.TINYCTR_MUST_WORK === '1') throw new Error('runc is not installed');
  return 'runc is not installed';
}

/** Reads a one-line file. */
export function line(path) {
  return readFileSync(path, 'utf8').trimEnd();
}
