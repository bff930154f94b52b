// The part of a start that is the check of config.json, for bench:oci.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { project } from './view.mjs';

/**
 * What checking a config.json adds to a start: the first call in a fresh process, with its module from V8's compiled code as
 * src/start.cjs takes it. The largest of what clients wrote, where the shared folder is; else `fallback`, a config.json, with
 * Docker's profile. Returns its size and milliseconds.
 */
export async function validationTimes(scratch, fallback, rounds) {
  const folder = `${project}/../shared/data/configs`;
  const largest = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.config.json'))
        .map((name) => `${folder}/${name}`)
        .sort((a, b) => statSync(b).size - statSync(a).size)[0]
    : `${scratch}/large.json`;
  if (!existsSync(folder)) {
    const config = JSON.parse(readFileSync(fallback, 'utf8'));
    const { allow: names } = JSON.parse(readFileSync(`${project}/src/engine/data/seccomp-default.json`, 'utf8'));
    config.linux.seccomp = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }] };
    writeFileSync(largest, JSON.stringify(config));
  }
  const { build } = await import('esbuild');
  const entry = `export * from '${project}/src/spec/validate.ts'; export * from '${project}/src/oci/cross-checks.ts';`;
  const file = `${scratch}/validate.cjs`;
  await build({
    stdin: { contents: entry, resolveDir: project },
    outfile: file,
    bundle: true,
    format: 'cjs',
    platform: 'node',
  });
  const program = `
    const { existsSync, readFileSync, writeFileSync } = require('node:fs'), vm = require('node:vm');
    const spec = JSON.parse(readFileSync(${JSON.stringify(largest)}, 'utf8'), (_key, value) => value === null ? undefined : value);
    const [file, cache] = [${JSON.stringify(file)}, ${JSON.stringify(`${file}.cache`)}];
    const start = process.hrtime.bigint();
    const cachedData = existsSync(cache) ? readFileSync(cache) : undefined;
    const script = new vm.Script('(function (exports, require, module) {' + readFileSync(file, 'latin1') + '})', { filename: file, cachedData });
    const own = { exports: {} };
    script.runInThisContext()(own.exports, require, own);
    const { faults } = own.exports.validateSpec(spec);
    const all = [...faults, ...own.exports.crossFaults(spec)];
    const ms = Number(process.hrtime.bigint() - start) / 1e6;
    if (all.length > 0) throw new Error(JSON.stringify(all));
    if (cachedData === undefined) writeFileSync(cache, script.createCachedData());
    process.stdout.write(String(ms));`;
  const measure = () => Number(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }));
  measure(); // keeps the compiled code
  return { bytes: statSync(largest).size, times: Array.from({ length: rounds }, measure) };
}
