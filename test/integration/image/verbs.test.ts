import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Scratch } from './snapshot.ts';

const program = new URL('../../../bin/tinyctr', import.meta.url).pathname;
let scratch: Scratch;

beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

function tinyctr(words: string[], input?: Buffer): Outcome {
  const result = spawnSync(program, ['--root', scratch.in('root'), '--run-root', scratch.in('run'), ...words], {
    ...(input && { input }),
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

const rootfs = gzipSync(a.archive(a.directory('bin/'), a.file('bin/sh', 'x'.repeat(1000), { mode: 0o755 })));

describe('the verbs', needs({ root: true }), () => {
  test('import from a file and from stdin, images, inspect, rmi', () => {
    writeFileSync(scratch.in('rootfs.tar.gz'), rootfs);
    const imported = tinyctr([
      'import',
      '-c',
      'CMD ["/bin/sh"]',
      '--change',
      'USER 1',
      scratch.in('rootfs.tar.gz'),
      'one',
    ]);
    expect(imported).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) });
    const id = imported.stdout.trim().slice(7, 19);
    expect(tinyctr(['import', '-', 'localhost:5000/two:v2'], rootfs).code).toBe(0);
    expect(tinyctr(['import', '-'], rootfs).code).toBe(0);

    const table = tinyctr(['images']).stdout.split('\n');
    expect(table[0]).toMatch(/^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE$/);
    expect(table.filter((line) => /^one +latest +[0-9a-f]{12} +.* ago +1kB$/.test(line))).toHaveLength(1);
    expect(table.filter((line) => /^localhost:5000\/two +v2 /.test(line))).toHaveLength(1);
    expect(table.filter((line) => /^<none> +<none> /.test(line))).toHaveLength(1);
    expect(tinyctr(['images', '-q']).stdout.split('\n')).toContain(id);
    const rows = tinyctr(['images', '--format', 'json'])
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows).toContainEqual(expect.objectContaining({ Repository: 'one', Tag: 'latest', ID: id, Size: '1kB' }));
    expect(tinyctr(['images', '--format', '{{.ID}}']).code).not.toBe(0);

    const [image] = JSON.parse(tinyctr(['inspect', id]).stdout);
    expect(image).toMatchObject({ RepoTags: ['one:latest'], Config: { Cmd: ['/bin/sh'], User: '1' }, Size: 1000 });
    expect(tinyctr(['inspect', 'one', 'missing'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('No such container or image: missing'),
    });

    const removed = tinyctr(['rmi', 'one', 'missing', 'localhost:5000/two:v2']);
    expect(removed).toMatchObject({ code: 1, stderr: expect.stringContaining('No such image: missing') });
    expect(removed.stdout).toMatch(
      /^Untagged: one:latest\nDeleted: sha256:.*\nUntagged: localhost:5000\/two:v2\nDeleted: sha256:/,
    );
  });

  test('a directory, and what it holds of the machine', () => {
    const { code, stdout } = tinyctr([
      'import',
      new URL('../../../rootfs-examples/busybox/rootfs', import.meta.url).pathname,
      'etc-only',
    ]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^sha256:/)]);
  });

  test('errors are one sentence, without a stack', () => {
    const bad = tinyctr(['import', '-', 'x'], a.archive(a.file('../x')));
    expect(bad).toMatchObject({ code: 125, stdout: '' });
    expect(bad.stderr).toMatch(/^tinyctr: "\.\.\/x" can't be unpacked: its path contains '\.\.'[^\n]*\n$/);
    const name = tinyctr(['import', '-', 'Upper'], rootfs);
    expect(name.stderr).toContain('a repository name must be lowercase');
    const change = tinyctr(['import', '-c', 'RUN x', '-', 'x'], rootfs);
    expect(change.stderr).toContain('only CMD, ENTRYPOINT, ENV');
    const load = tinyctr(['load', '-i', scratch.in('missing')]);
    expect(load.stderr).toContain('there is no such file');
    const notSaved = tinyctr(['load'], rootfs);
    expect(notSaved.stderr).toContain('hint: the archive of a root filesystem becomes an image with: tinyctr import');
  });

  test('load from stdin says what was loaded, by name or by id', () => {
    const layer = a.archive(a.file('f', 'x'));
    const hex = spawnSync('sha256sum', { input: layer, encoding: 'utf8' }).stdout.slice(0, 64);
    const config = Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { diff_ids: [`sha256:${hex}`] } }),
    );
    const saved = (tags: string[] | null) =>
      a.archive(
        a.file('manifest.json', JSON.stringify([{ Config: 'config.json', RepoTags: tags, Layers: ['layer.tar'] }])),
        { name: 'config.json', data: config },
        { name: 'layer.tar', data: layer },
      );
    expect(tinyctr(['load'], saved(['a:1', 'b:2'])).stdout).toBe('Loaded image: a:1\nLoaded image: b:2\n');
    expect(tinyctr(['load', '-i', '-'], gzipSync(saved(null))).stdout).toMatch(
      /^Loaded image ID: sha256:[0-9a-f]{64}\n$/,
    );
    expect(tinyctr(['load', '-q'], saved(['a:1'])).stdout).toBe('');
  });

  test('an import that is interrupted leaves nothing that can be seen', async () => {
    const child = spawn(program, ['--root', scratch.in('root'), 'import', '-', 'half'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    child.stdin.on('error', () => {}); // the pipe breaks, as it should
    child.stdin.write(a.header(a.file('large', '', { size: 1_000_000 })));
    child.stdin.write(Buffer.alloc(200_000));
    await new Promise((resolve) => setTimeout(resolve, 400));
    child.kill('SIGINT');
    expect(await ended).toBe('SIGINT');
    expect(tinyctr(['cleanup']).code).toBe(0);
    expect(tinyctr(['images', '-q']).stdout).toBe('');
    expect(spawnSync('ls', [scratch.in('root', 'layers')], { encoding: 'utf8' }).stdout).toBe('');
  });
});
