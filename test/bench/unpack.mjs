/**
 * How fast a layer is unpacked, against `tar -xzf` of the same file: a tree of about 17,000 files and 300 MB, the two
 * taking turns, a fresh folder each time. Run as root: node test/bench/unpack.mjs [rounds]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 7);
const project = fileURLToPath(new URL('../..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-unpack-'));

/** Words and noise in equal parts: such data shrinks to about a third, like that of real images. */
function content(random, bytes) {
  const text = Buffer.alloc(bytes + 16);
  const words = ['container', 'namespace', 'mount', 'return', 'static', 'kernel', '\n\t', ' = ', '0x', ';'];
  for (let at = 0; at < bytes; ) {
    const value = random();
    if (value % 3 === 0) at = text.writeUInt32LE(value, at);
    else at += text.write(words[value % words.length], at);
  }
  return text.subarray(0, bytes);
}

function generator() {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function makeTree(folder) {
  const random = generator();
  for (let i = 0; i < 17_000; i++) {
    const directory = join(folder, `usr/lib${i % 4}/package-${Math.floor(i / 40)}`, i % 3 === 0 ? 'sub' : '');
    mkdirSync(directory, { recursive: true });
    const bytes = i % 100 === 0 ? 700_000 + (random() % 500_000) : random() % (i % 10 === 0 ? 60_000 : 9_000);
    writeFileSync(join(directory, `file-${i}.txt`), content(random, bytes));
  }
}

/**
 * A process of its own for each round: start-up counts, as it does for tar. The runner prints its peak memory in kB. It
 * lies in the scratch folder, arranged like the project, so that a build meanwhile takes nothing away.
 */
async function buildRunner() {
  const { build } = await import('esbuild');
  const outfile = join(scratch, 'dist/unpack.mjs');
  for (const name of ['native-shim', 'node_modules']) symlinkSync(join(project, name), join(scratch, name));
  await build({
    stdin: {
      contents: `
        import { createReadStream } from 'node:fs';
        import { unpackLayer } from './src/image/unpack/layer.ts';
        await unpackLayer(createReadStream(process.argv[2], { highWaterMark: 1 << 20 }), process.argv[3]);
        console.log(process.resourceUsage().maxRSS);`,
      resolveDir: project,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outfile,
  });
  return outfile;
}

function timed(run) {
  const folder = mkdtempSync(join(scratch, 'out-'));
  const start = process.hrtime.bigint();
  const result = run(folder);
  const ms = Number(process.hrtime.bigint() - start) / 1e6;
  if (result.status !== 0) throw new Error(`it failed: ${result.stderr}`);
  rmSync(folder, { recursive: true });
  spawnSync('sync');
  return { ms, stdout: String(result.stdout) };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

try {
  const tree = join(scratch, 'tree');
  const archive = join(scratch, 'layer.tar.gz');
  makeTree(tree);
  execFileSync('tar', ['-C', tree, '-czf', archive, '.']);
  console.log(`layer.tar.gz: ${(statSync(archive).size / 1e6).toFixed(0)} MB`);
  rmSync(tree, { recursive: true });
  const runner = await buildRunner();
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };
  const times = { tar: [], tinyctr: [] };
  let peakKb = 0;
  for (let round = 0; round < rounds; round++) {
    times.tar.push(timed((folder) => spawnSync('tar', ['-C', folder, '-xzf', archive])).ms);
    const ours = timed((folder) => spawnSync(process.execPath, [runner, archive, folder], { env }));
    times.tinyctr.push(ours.ms);
    peakKb = Math.max(peakKb, Number(ours.stdout));
  }
  const [tar, tinyctr] = [median(times.tar), median(times.tinyctr)];
  console.log(`tar -xzf ${tar.toFixed(0)} ms, tinyctr ${tinyctr.toFixed(0)} ms (medians of ${rounds})`);
  console.log(`speed ${(tar / tinyctr).toFixed(2)} times tar's; peak memory ${(peakKb / 1024).toFixed(0)} MB`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
