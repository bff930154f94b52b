/** tag, history, image prune and system df, as a user sees them. */
import { spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { importImage } from '../../../src/image/import.ts';
import { humanSize } from '../../../src/image/present.ts';
import { readUntil } from '../../../src/image/prune.ts';
import { listImages } from '../../../src/image/records.ts';
import { removeImage } from '../../../src/image/remove.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { dockerArchive, type HandmadeImage } from '../../support/saved-image.ts';
import { Engine } from '../../support/tinyctr.ts';

let engine: Engine;

beforeEach(() => {
  engine = new Engine();
});
afterEach(() => engine.remove());

const lower = a.archive(a.file('lower', 'x'.repeat(1000)));
const upper = a.archive(a.file('upper', 'x'.repeat(500)));

async function load(...images: HandmadeImage[]): Promise<void> {
  const { code, stderr } = await engine.runWith({ input: dockerArchive(...images) }, 'load');
  expect(stderr).toBe('');
  expect(code).toBe(0);
}
const names = () => listImages(engine.root).flatMap((image) => image.names);
const json = async (...words: string[]) =>
  (await engine.run(...words, '--format', 'json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('tag', needs({ root: true }), () => {
  test('gives one more name, moves a name, and says nothing', async () => {
    await load({ layers: [lower], tags: ['one'] }, { layers: [lower, upper], tags: ['two'] });
    expect(await engine.run('tag', 'one', 'localhost:5000/deep/er:v1')).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(names().sort()).toEqual(['localhost:5000/deep/er:v1', 'one:latest', 'two:latest']);
    const id = listImages(engine.root).find((image) => image.names.includes('two:latest'))!.id;
    expect((await engine.run('tag', id.slice(0, 12), 'one')).code).toBe(0);
    expect(listImages(engine.root).find((image) => image.id === id)!.names).toEqual(['one:latest', 'two:latest']);
  });

  test('what is wrong changes nothing', async () => {
    expect(await engine.run('tag', 'missing', 'x')).toMatchObject({
      code: 1,
      stderr: 'tinyctr: No such image: missing\n',
    });
    expect(() => readdirSync(engine.root)).toThrow('ENOENT');
    await load({ layers: [lower], tags: ['one'] });
    expect((await engine.run('tag', 'one', 'Two')).stderr).toContain('must be lowercase');
    expect((await engine.run('tag', 'one', `x@sha256:${'0'.repeat(64)}`)).stderr).toContain('a digest belongs to');
    expect(names()).toEqual(['one:latest']);
  });

  test('the embedded image can be named before it was ever run', async () => {
    expect((await engine.run('tag', 'busybox', 'mine')).code).toBe(0);
    expect(names()).toEqual(['busybox:latest', 'mine:latest']);
  });
});

describe('history', needs({ root: true }), () => {
  const created = '2026-01-02T03:04:05Z';
  const history = [
    { created, created_by: '/bin/sh -c #(nop) ADD file:8c51cd4ac9eda6a6c5f9a3d5a1b0c1 in / ', comment: 'first' },
    { created, created_by: 'CMD ["sh"]\t\u001b[31m\nred', empty_layer: true },
    { created_by: 'RUN make', empty_layer: false },
  ];

  test("docker's columns: the youngest first, long commands cut, nothing that a terminal obeys", async () => {
    await load({ layers: [lower, upper], tags: ['x'], more: { history } });
    const id = listImages(engine.root)[0]!.id;
    const lines = (await engine.run('history', 'x')).stdout.split('\n');
    expect(lines[0]).toMatch(/^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/);
    expect(lines[1]).toMatch(new RegExp(`^${id.slice(0, 12)} +N/A +RUN make +500B$`));
    expect(lines[2]).toMatch(/^<missing> +\d+ (day|week|month|year)s? ago +CMD \["sh"\] \[31m red +0B$/);
    expect(lines[3]).toMatch(/^<missing> .* \/bin\/sh -c #\(nop\) ADD file:8c51cd4ac9eda6a6c… {2,}1kB +first$/);
    expect(lines.slice(4)).toEqual(['']);
    const whole = (await engine.run('history', '--no-trunc', '-H=false', 'x')).stdout.split('\n');
    expect(whole[1]).toMatch(new RegExp(`^sha256:${id} +N/A +RUN make +500$`));
    expect(whole[3]).toContain(`${created}   /bin/sh -c #(nop) ADD file:8c51cd4ac9eda6a6c5f9a3d5a1b0c1 in /    1000 `);
    expect((await engine.run('history', '-q', 'x')).stdout).toBe(`${id.slice(0, 12)}\n<missing>\n<missing>\n`);
    expect((await json('history', 'x'))[2]).toMatchObject({
      ID: '<missing>',
      CreatedAt: created,
      Comment: 'first',
      Size: '1kB',
    });
  });

  test('layers without a history are shown all the same', async () => {
    await load({ layers: [lower, upper], tags: ['x'] });
    expect((await json('history', 'x')).map(({ Size }) => Size)).toEqual(['500B', '1kB']);
    expect(await engine.run('history', 'nothing')).toMatchObject({
      code: 1,
      stderr: 'tinyctr: No such image: nothing\n',
    });
  });
});

describe('image prune', needs({ root: true }), () => {
  test('takes images without a tag; with -a all that no container uses', async () => {
    await load({ layers: [lower], tags: ['moved'] }, { layers: [lower, upper], tags: ['kept'] });
    await engine.run('tag', 'kept', 'moved');
    await engine.run('run', 'busybox', 'true');
    const pruned = await engine.run('image', 'prune', '-f');
    expect(pruned.stdout).toMatch(/^Deleted Images:\ndeleted: sha256:[0-9a-f]{64}\n\nTotal reclaimed space: \d+/);
    expect(names().sort()).toEqual(['busybox:latest', 'kept:latest', 'moved:latest']);
    expect((await engine.run('image', 'prune', '-f')).stdout).toBe('Total reclaimed space: 0B\n');
    const all = (await engine.run('image', 'prune', '-a', '-f')).stdout;
    expect(all).toContain('untagged: kept:latest\nuntagged: moved:latest\ndeleted: sha256:');
    expect(names()).toEqual(['busybox:latest']);
    expect(readdirSync(`${engine.root}/layers`)).toHaveLength(1);
  });

  test('an image that gets a name meanwhile stays', async () => {
    await load({ layers: [lower], tags: [] });
    const { id } = listImages(engine.root)[0]!;
    await engine.run('tag', id, 'saved');
    expect(() => removeImage(engine.root, id, true, [])).toThrow('another name meanwhile');
    expect(names()).toEqual(['saved:latest']);
    expect(removeImage(engine.root, id, true, ['saved:latest']).deleted).toHaveLength(2);
  });

  test('asks first; anything but yes is a no', async () => {
    await load({ layers: [lower], tags: ['x'] });
    for (const input of ['', 'n\n', 'yellow\n', '\n'])
      expect((await engine.runWith({ input }, 'image', 'prune', '-a')).stdout).toMatch(/^WARNING![\s\S]*\[y\/N\] $/);
    expect(names()).toEqual(['x:latest']);
    expect((await engine.runWith({ input: 'y\n' }, 'image', 'prune', '-a')).stdout).toContain('untagged: x:latest');
    expect(names()).toEqual([]);
  });

  test('--filter until=: only what is older', async () => {
    await load({ layers: [lower], tags: ['old'] });
    await engine.runWith({ input: upper }, 'import', '-', 'young');
    expect((await engine.run('image', 'prune', '-af', '--filter', 'until=24h')).code).toBe(0);
    expect(names()).toEqual(['young:latest']);
    expect((await engine.run('image', 'prune', '-f', '--filter', 'label=x')).stderr).toContain('only until=TIME');
    const now = Date.parse('2026-06-01T00:00:00Z');
    expect(new Date(readUntil('until=1h30m', now)).toISOString()).toBe('2026-05-31T22:30:00.000Z');
    expect(readUntil('until=2026-01-02', now)).toBe(Date.parse('2026-01-02'));
    expect(readUntil('until=1700000000', now)).toBe(1_700_000_000_000);
    for (const bad of ['until=', 'until=soon', 'until=1x']) expect(() => readUntil(bad, now)).toThrow('write an age');
  });

  test('while others import, nothing that they need is taken', async () => {
    const importing = Array.from({ length: 4 }, (_, i) => {
      writeFileSync(
        `${engine.folder}/${i}.tar`,
        a.archive(...Array.from({ length: 300 }, (_, n) => a.file(`f${n}`, `${i}`))),
      );
      return importImage(engine.root, `${engine.folder}/${i}.tar`, `n${i}`, []);
    });
    const prunes = Array.from({ length: 3 }, () => engine.run('image', 'prune', '-f'));
    await Promise.all(importing);
    expect((await Promise.all(prunes)).map(({ code, stderr }) => [code, stderr])).toEqual(Array(3).fill([0, '']));
    for (const { layers } of listImages(engine.root)) expect(readdirSync(`${engine.root}/layers`)).toContain(layers[0]);
    expect(names()).toHaveLength(4);
  });
});

describe('the group image', needs({ root: true }), () => {
  test('ls, rm, inspect, tag, history are the verbs of the same names', async () => {
    await load({ layers: [lower], tags: ['x'] });
    expect((await engine.run('image', 'ls')).stdout).toBe((await engine.run('images')).stdout);
    expect((await engine.run('image', 'inspect', 'x')).stdout).toBe((await engine.run('inspect', 'x')).stdout);
    expect((await engine.run('image', 'tag', 'x', 'y')).code).toBe(0);
    expect((await engine.run('image', 'history', 'y')).stdout).toContain('1kB');
    expect((await engine.run('image', 'rm', 'x', 'y')).stdout).toContain(
      'Untagged: x:latest\nUntagged: y:latest\nDeleted:',
    );
    expect((await engine.run('image', 'nothing')).stderr).toContain("unknown command 'nothing'");
  });
});

describe('system df', needs({ root: true }), () => {
  test('images with each layer once, what is shared, what a container wrote, what could be free', async () => {
    await load({ layers: [lower], tags: ['one'] }, { layers: [lower, upper], tags: ['two', 'three'] });
    expect((await engine.run('run', '--name', 'box', 'busybox', 'sh', '-c', 'head -c 12345 /dev/zero > /f')).code).toBe(
      0,
    );
    const [images, blobs, containers] = await json('system', 'df');
    expect(blobs).toMatchObject({ Type: 'Blobs', TotalCount: '3', Active: '1' });
    expect(blobs.Reclaimable.split(' ')[0]).toBe(humanSize(lower.length + upper.length));
    expect(images).toMatchObject({ Type: 'Images', TotalCount: '3', Active: '1', Size: '1.98MB' });
    expect(images.Reclaimable).toBe('1.5kB (0%)');
    expect(containers).toMatchObject({
      Type: 'Containers',
      TotalCount: '1',
      Active: '0',
      Reclaimable: '12.3kB (100%)',
    });
    const [details] = await json('system', 'df', '-v');
    const image = (tag: string) => details.Images.find(({ Repository }: { Repository: string }) => Repository === tag);
    expect(image('one')).toMatchObject({ Size: '1kB', SharedSize: '1kB', UniqueSize: '0B', Containers: '0' });
    expect(image('three')).toMatchObject({ Size: '1.5kB', SharedSize: '1kB', UniqueSize: '500B' });
    expect(image('busybox')).toMatchObject({ Containers: '1' });
    expect(details.Containers[0]).toMatchObject({
      Names: 'box',
      Size: '12.3kB',
      Status: expect.stringMatching(/^Exited \(0\) .* ago$/),
    });
    expect((await engine.run('system', 'df')).stdout).toMatch(/^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +3 +1 /);
  });

  test('a running container is not reclaimable', async () => {
    const child = spawn(engine.command[0]!, [
      ...engine.command.slice(1),
      'run',
      'busybox',
      'sh',
      '-c',
      'echo 12345 > /f; echo up; sleep 60',
    ]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const [, , containers] = await json('system', 'df');
    child.kill('SIGKILL');
    expect(containers).toMatchObject({ Active: '1', Size: '6B', Reclaimable: '0B (0%)' });
    await new Promise((resolve) => child.once('close', resolve));
    await engine.run('cleanup');
  });
});
