// process.apparmorProfile, enforced by a kernel that was booted with AppArmor.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { checkout, run } from '../suite/support.mjs';
import { bundle, oci, runScript, start, tool } from './support.mjs';

const profile = `
profile no-secret flags=(attach_disconnected) {
  file,
  signal,
  deny /etc/secret r,
}
profile other flags=(attach_disconnected) {
  file,
  signal,
}
`;
const confined = (spec) => {
  spec.process.apparmorProfile = 'no-secret';
};

before(async () => {
  const { code } = await run('mount', ['-t', 'securityfs', 'none', '/sys/kernel/security']);
  assert.ok(code === 0 || code === 32);
  writeFileSync('/tmp/profile', profile);
  const loaded = await run(tool('apparmor_parser'), ['--skip-cache', '-r', '/tmp/profile']);
  assert.equal(loaded.code, 0, loaded.stderr);
});

test('without a profile the program is unconfined and reads the file', async () => {
  const { stdout, stderr } = await runScript('cat /proc/self/attr/current /etc/secret', () => {});
  assert.equal(stdout, 'unconfined\nsecret\n', stderr);
});

for (const noNewPrivileges of [true, false])
  test(`the profile is the program's, and enforced; noNewPrivileges ${noNewPrivileges}`, async () => {
    const change = (spec) => {
      confined(spec);
      spec.process.noNewPrivileges = noNewPrivileges;
      spec.process.user = { uid: 1000, gid: 1000 };
    };
    const { stdout, stderr } = await runScript('cat /proc/self/attr/current; cat /etc/secret 2>&1', change);
    assert.match(stdout, /^no-secret \(enforce\)\n.*Permission denied\n$/, stderr);
  });

test('a profile that is not loaded is an error of create, with its pointer', async () => {
  const { code, stdout, stderr } = await runScript('echo ran', (spec) => {
    spec.process.apparmorProfile = 'not-there';
  });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.match(stderr, /not-there/);
  assert.match(stderr, /\/process\/apparmorProfile/);
  assert.match(stderr, /apparmor_parser/);
});

test('exec takes the profile of config.json, and --apparmor another; hooks in the container have it', async () => {
  const hook = { path: '/bin/sh', args: ['sh', '-c', 'cat /proc/self/attr/current > /etc/hooked'] };
  const folder = await bundle('sleep 1000', (spec) => {
    confined(spec);
    spec.hooks = { startContainer: [hook] };
  });
  const { code, stderr } = await start(folder, 'box');
  assert.equal(code, 0, stderr);
  const own = await oci('exec', 'box', 'sh', '-c', 'cat /proc/self/attr/current /etc/hooked; cat /etc/secret 2>&1');
  assert.match(own.stdout, /^no-secret \(enforce\)\nno-secret \(enforce\)\n.*Permission denied\n$/, own.stderr);
  const other = await oci('exec', '--apparmor', 'other', 'box', 'cat', '/proc/self/attr/current', '/etc/secret');
  assert.equal(other.stdout, 'other (enforce)\nsecret\n', other.stderr);
  await oci('delete', '--force', 'box');
});

/** The calls of explain's steps, or of a trace's, as `step: call`: where a label comes in, and what stands beside it. */
function callsAround(calls) {
  const all = calls.map(({ step, call }) => {
    const bare = call.replaceAll(/\b(\d+)<[^<>]*>/g, '$1').replace(/ = [^=]*$/, '');
    return `${step}: ${bare.replaceAll(/\/(explained|traced)"/g, '/ID"')}`;
  });
  return all.filter((line) => !/: (umask|setsid|clone3|getpid)\(/.test(line));
}

async function explainedCalls(program, folder) {
  const words = ['--root', '/tmp/explained', 'explain', '--format', 'json', '--bundle', folder];
  const { code, stdout, stderr } = await run(process.execPath, [program, ...words]);
  assert.equal(code, 0, stderr);
  const { steps } = JSON.parse(stdout);
  return callsAround(
    steps.flatMap(({ phase, id, calls }) => (phase === 'host' ? [] : calls.map(({ call }) => ({ step: id, call })))),
  );
}

test('a label’s explained calls are the traced ones, and each statement that makes them is noticed when it is left out', async () => {
  const folder = await bundle('true', confined);
  const explained = await explainedCalls(`${checkout}/dist/tinyctr-oci.cjs`, folder);
  const ran = await oci('run', '--bundle', folder, '--trace=/tmp/labelled', 'traced');
  assert.equal(ran.code, 0, ran.stderr);
  const shown = await run(`${checkout}/bin/tinyctr`, ['trace', 'show', '--format', 'json', '/tmp/labelled']);
  const lines = shown.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(explained, callsAround(lines.filter(({ side }) => side === 'stage')));
  assert.equal(explained.filter((line) => /^label attr.*: write\(\d+, "(exec )?no-secret"/.test(line)).length, 1);

  const { build } = await import('esbuild');
  const file = `${checkout}/src/core/init/proc.ts`;
  const code = readFileSync(file, 'utf8');
  const statements = [
    /writeLabel\(stage, proc, label\);/,
    /stage\.step\(\{\n {4}id: `label [\s\S]*?\n {2}\}\);/,
    /writeFile\(stage, proc, `self\/\$\{file\}`, value\);/,
  ];
  for (const statement of statements) {
    assert.equal(code.split(statement).length, 2, String(statement));
    const contents = code.replace(statement, ';');
    await build({
      entryPoints: { mutated: `${checkout}/src/oci/main.ts` },
      outdir: '/tmp/mutated',
      outExtension: { '.js': '.cjs' },
      bundle: true,
      format: 'cjs',
      platform: 'node',
      external: ['ffi-rs', '@yuuang/*', 'pino', 'tar', 'undici', 'fzstd'],
      define: {
        'import.meta.filename': JSON.stringify(`${checkout}/dist/mutated.cjs`),
        'import.meta.dirname': JSON.stringify(`${checkout}/dist`),
      },
      plugins: [
        {
          name: 'mutated',
          setup: ({ onLoad }) =>
            onLoad({ filter: /\/init\/proc\.ts$/ }, ({ path }) =>
              path === file ? { contents, loader: 'ts' } : undefined,
            ),
        },
      ],
    });
    assert.notDeepEqual(await explainedCalls('/tmp/mutated/mutated.cjs', folder), explained, String(statement));
  }
});

test('doctor tells that AppArmor is active', async () => {
  const { stdout } = await run(`${checkout}/bin/tinyctr`, ['--root', '/tmp/doctor', 'doctor']);
  assert.match(stdout, /\n {2}security modules +.*apparmor/);
});
