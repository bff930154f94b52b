// What the tests of security modules share: a container of tinyctr-oci, and a created one to exec in.
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { busyboxRootfs, checkout, run } from '../suite/support.mjs';

const cache = `/lower${readFileSync('/job/cache', 'utf8').trim()}`;
/** A program of the packages that setup.sh has unpacked. */
export const tool = (name) =>
  [`${cache}/lsm/sbin/${name}`, `${cache}/lsm/usr/sbin/${name}`, `${cache}/lsm/usr/bin/${name}`].find((path) =>
    existsSync(path),
  );

const root = mkdtempSync('/tmp/oci-');
export const oci = (...words) => run(`${checkout}/bin/tinyctr-oci`, ['--root', root, ...words]);

/** A bundle whose program is a shell script; `change` gets its config.json. */
export async function bundle(script, change) {
  const folder = mkdtempSync('/tmp/bundle-');
  await oci('spec', '--bundle', folder);
  const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
  spec.root = { path: busyboxRootfs(), readonly: false };
  chmodSync(spec.root.path, 0o755);
  writeFileSync(`${spec.root.path}/etc/secret`, 'secret\n');
  Object.assign(spec.process, { terminal: false, args: ['sh', '-c', script] });
  change(spec);
  writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
  return folder;
}

/** The container keeps standard output and error open: they are a file. */
export async function start(folder, id) {
  const words = [`${checkout}/bin/tinyctr-oci`, '--root', root, 'run', '--detach', '--bundle', folder, id];
  const { code } = await run('sh', ['-c', '"$@" > /tmp/started 2>&1', 'sh', ...words]);
  return { code, stderr: readFileSync('/tmp/started', 'utf8') };
}

let containers = 0;

export async function runScript(script, change) {
  return oci('run', '--bundle', await bundle(script, change), `c${++containers}`);
}
