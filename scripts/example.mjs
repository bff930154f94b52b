// npm run example NAME: bundles examples/NAME.ts into dist/examples and runs it; arguments after NAME go on to it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [name, ...rest] = process.argv.slice(2);
const entry = `${root}/examples/${name}.ts`;
if (!name || !existsSync(entry)) {
  const names = readdirSync(`${root}/examples`).filter((file) => file.endsWith('.ts'));
  console.error(`usage: npm run example NAME; there are: ${names.map((file) => file.slice(0, -3)).join(', ')}`);
  process.exit(2);
}
const outfile = `${root}/dist/examples/${name}.mjs`;
await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: 'linked',
  logLevel: 'warning',
});
process.exitCode =
  spawnSync(process.execPath, ['--enable-source-maps', outfile, ...rest], { stdio: 'inherit' }).status ?? 1;
