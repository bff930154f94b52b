import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cleanStore } from '../../../src/image/clean.ts';
import { importImage } from '../../../src/image/import.ts';
import { layersFolder } from '../../../src/image/layout.ts';
import { findImage, listImages, listNames } from '../../../src/image/records.ts';
import { removeImage } from '../../../src/image/remove.ts';
import { ensureImage } from '../../../src/image/store.ts';
import { Work } from '../../../src/image/work.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Scratch, snapshot } from './snapshot.ts';

const tinyctr = new URL('../../../bin/tinyctr', import.meta.url).pathname;
let scratch: Scratch;
let root: string;

beforeEach(() => {
  scratch = new Scratch();
  root = scratch.in('root');
});
afterEach(() => scratch.remove());

const archiveFile = (name: string, ...entries: a.RawEntry[]) => {
  writeFileSync(scratch.in(name), gzipSync(a.archive(...entries)));
  return scratch.in(name);
};
const importOne = (reference: string, content: string) =>
  importImage(root, archiveFile(`${reference.replaceAll(/\W/g, '-')}.tar.gz`, a.file('f', content)), reference, []);
const layers = () => readdirSync(layersFolder(root));

/** Everything that must hold whatever happened: no leftovers, each image complete, each name leading to an image. */
function checkStore(): void {
  const images = listImages(root);
  const needed = new Set(images.flatMap((image) => image.layers));
  expect(new Set(layers())).toEqual(needed);
  expect(readdirSync(join(root, 'configs')).sort()).toEqual(images.map(({ id }) => id).sort());
  for (const { id } of images)
    expect(
      createHash('sha256')
        .update(readFileSync(join(root, 'configs', id)))
        .digest('hex'),
    ).toBe(id);
  for (const { id } of listNames(root)) expect(images.map((image) => image.id)).toContain(id);
}

describe('importing and finding', needs({ root: true }), () => {
  test('an image is found by name, with and without tag, by id and by the beginning of the id', async () => {
    const { id } = await importOne('localhost:5000/some/thing:v1', 'x');
    expect(findImage(root, 'localhost:5000/some/thing:v1')).toMatchObject({
      id,
      names: ['localhost:5000/some/thing:v1'],
    });
    for (const reference of [id, `sha256:${id}`, id.slice(0, 12), `sha256:${id.slice(0, 4)}`])
      expect(findImage(root, reference)?.id).toBe(id);
    expect(findImage(root, 'localhost:5000/some/thing')).toBeUndefined();
    expect(findImage(root, 'some/thing:v1')).toBeUndefined();
    expect(() => findImage(root, 'Some')).toThrow('lowercase');
    checkStore();
  });

  test('a name wins over an id that begins alike, and a beginning of two ids is an error', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push((await importOne(`i${i}`, String(i))).id);
    const named = await importOne(ids[0]!.slice(0, 8), 'named');
    expect(findImage(root, ids[0]!.slice(0, 8))?.id).toBe(named.id);
    const twin = ids[1]!.slice(0, 5) + '0'.repeat(59);
    writeFileSync(
      join(root, 'images', `${twin}.json`),
      JSON.stringify({ id: twin, layers: [], content: [], created: '' }),
    );
    expect(() => findImage(root, ids[1]!.slice(0, 5))).toThrow('beginning of 2 image ids');
  });

  test('finding by name opens two files', needs({ command: 'strace' }), async () => {
    await importOne('alpine', 'x');
    const trace = scratch.in('trace');
    spawnSync('strace', ['-f', '-qq', '-o', trace, '-e', 'trace=openat', tinyctr, '--root', root, 'inspect', 'alpine']);
    const opened = readFileSync(trace, 'utf8')
      .split('\n')
      .filter((line) => line.includes(`"${root}/`));
    // inspect looks once for the image, and then through all names for those of the image.
    expect(opened[0]).toContain('names/docker.io/library/alpine/:latest');
    expect(opened[1]).toMatch(/images\/[0-9a-f]{64}\.json/);
  });

  test('nobody but root can reach the store', async () => {
    await importOne('a', 'x');
    expect(statSync(root).mode & 0o777).toBe(0o700);
  });

  test('importing a name again moves it; the old image stays without a name', async () => {
    const first = await importOne('x', 'first');
    const second = await importOne('x', 'second');
    expect(findImage(root, 'x')?.id).toBe(second.id);
    expect(listImages(root).find(({ id }) => id === first.id)?.names).toEqual([]);
    checkStore();
  });

  test('what can not be imported leaves nothing', async () => {
    const file = archiveFile('bad', a.file('../x'));
    await expect(importImage(root, file, 'bad', [])).rejects.toThrow("'..'");
    await expect(importImage(root, scratch.in('missing'), 'bad', [])).rejects.toThrow('no such file');
    await expect(importImage(root, '/dev/null', 'bad', [])).rejects.toThrow('neither a file nor a directory');
    writeFileSync(scratch.in('empty'), '');
    await expect(importImage(root, scratch.in('empty'), 'bad', [])).rejects.toThrow('empty');
    await expect(importImage(root, scratch.path, 'bad', [])).rejects.toThrow('contains the image store');
    await expect(importImage(root, 'https://example.com/x.tar', 'bad', [])).rejects.toThrow('not there yet');
    await expect(importImage(root, file, `x@sha256:${'0'.repeat(64)}`, [])).rejects.toThrow('has a digest');
    checkStore();
    expect(listImages(root)).toEqual([]);
  });

  test('a directory becomes the same tree; configuration changes are in the image', async () => {
    mkdirSync(scratch.in('tree/bin'), { recursive: true });
    writeFileSync(scratch.in('tree/bin/sh'), 'sh', { mode: 0o755 });
    const image = await importImage(root, scratch.in('tree'), 'dir', ['CMD ["/bin/sh"]', 'ENV A=1']);
    expect(image.config).toEqual({ Cmd: ['/bin/sh'], Env: ['A=1'] });
    expect(snapshot(join(layersFolder(root), image.layers[0]!))).toEqual(snapshot(scratch.in('tree')));
  });
});

describe('removing', needs({ root: true }), () => {
  test('names first, the image with its last name, layers with the last image that has them', async () => {
    const shared = archiveFile('shared', a.file('f', 'shared'));
    const one = await importImage(root, shared, 'one', ['USER a']);
    const two = await importImage(root, shared, 'two', ['USER b']);
    expect(one.id).not.toBe(two.id);
    expect(one.layers).toEqual(two.layers);
    expect(removeImage(root, 'one', false)).toEqual({ untagged: ['one:latest'], deleted: [`sha256:${one.id}`] });
    expect(layers()).toEqual(two.layers);
    expect(removeImage(root, two.id.slice(0, 12), false)).toEqual({
      untagged: ['two:latest'],
      deleted: [`sha256:${two.id}`, two.content[0]!.diffId],
    });
    expect(layers()).toEqual([]);
    expect(readdirSync(join(root, 'names'))).toEqual([]);
    checkStore();
    expect(() => removeImage(root, 'one', false)).toThrow('No such image: one');
  });

  test('a container keeps its image, whatever is said', async () => {
    const image = await importOne('used', 'x');
    const container = join(root, 'containers/0123456789abcdef');
    mkdirSync(container, { recursive: true });
    writeFileSync(
      join(container, 'container.json'),
      JSON.stringify({ id: '0123456789abcdef', name: 'web', image: image.id }),
    );
    for (const force of [false, true])
      expect(() => removeImage(root, 'used', force)).toThrow('container web is using its image');
    expect(findImage(root, 'used')?.id).toBe(image.id);
    writeFileSync(join(container, 'container.json'), '{');
    expect(() => removeImage(root, 'used', true)).toThrow('is damaged');
  });

  test('a damaged record is an error that names the file, and nothing is removed', async () => {
    const kept = await importOne('kept', 'x');
    await importOne('other', 'y');
    const file = join(root, 'images', `${kept.id}.json`);
    writeFileSync(file, '{"id"');
    expect(() => findImage(root, 'kept')).toThrow(`${file} is damaged`);
    expect(() => removeImage(root, 'other', false)).toThrow('is damaged');
    expect(layers()).toHaveLength(2);
  });
});

describe('several at once, and the end at any moment', needs({ root: true }), () => {
  test('ten imports at once, of the same layer and of different ones', async () => {
    const file = archiveFile('same', ...Array.from({ length: 50 }, (_, i) => a.file(`f${i}`, 'x')));
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        i % 2 === 0 ? importImage(root, file, `n${i}`, [`USER u${i}`]) : importOne(`n${i}`, `${i}`),
      ),
    );
    expect(listNames(root)).toHaveLength(10);
    expect(layers()).toHaveLength(6);
    checkStore();
  });

  test('processes at once: imports, removals and cleaning', async () => {
    const files = [0, 1].map((i) =>
      archiveFile(`p${i}`, ...Array.from({ length: 200 }, (_, n) => a.file(`f${n}`, `${i}`))),
    );
    const start = (...words: string[]) =>
      new Promise<number | null>((done) =>
        spawn(tinyctr, ['--root', root, ...words], { stdio: 'ignore' }).on('close', done),
      );
    const codes = await Promise.all([
      ...Array.from({ length: 6 }, (_, i) => start('import', files[i % 2]!, `n${i}`)),
      start('rmi', 'n0', 'n1'),
      start('cleanup'),
      start('rmi', 'n2'),
    ]);
    expect(codes.slice(0, 6)).toEqual([0, 0, 0, 0, 0, 0]);
    cleanStore(root);
    checkStore();
    for (const image of listImages(root))
      expect(readdirSync(join(layersFolder(root), image.layers[0]!))).toHaveLength(200);
  });

  test('a layer that an unfinished import needs is not removed with the image it came from', async () => {
    const { id, content } = await importOne('first', 'x');
    const work = new Work(root);
    expect(work.keep(content[0]!.diffId)).toBe(true);
    removeImage(root, id, false);
    expect(layers().filter((name) => !name.startsWith('tmp-'))).toHaveLength(1);
    expect(cleanStore(root)).toEqual([]);
    work.close();
    await importOne('second', 'y');
    removeImage(root, 'second', false);
    expect(layers()).toEqual([]);
  });

  test('the folder of a living process stays, that of a dead one goes', () => {
    const work = new Work(root);
    writeFileSync(work.path('half'), 'x');
    expect(cleanStore(root)).toEqual([]);
    mkdirSync(join(layersFolder(root), 'tmp-1-dead/0/deep'), { recursive: true });
    expect(cleanStore(root)).toEqual(['tmp-1-dead']);
    expect(existsSync(work.path('half'))).toBe(true);
    work.close();
    expect(layers()).toEqual([]);
  });

  // The calls by which the store changes; strace kills the process when it enters the n-th of them.
  const calls = ['rename', 'mkdir,mkdirat', 'flock', 'unlink,unlinkat,rmdir', 'openat'] as const;
  test.each(calls)('kill -9 at each %s of an import, and of a removal', needs({ command: 'strace' }), async (call) => {
    const file = archiveFile('killed', a.directory('d/'), a.file('d/f', 'content'), a.symlink('l', 'd'));
    const kill = (n: number, words: string[]) => {
      const inject = `inject=${call}:signal=SIGKILL:when=${n}`;
      const args = [
        '-f',
        '-qq',
        '-o',
        '/dev/null',
        '-e',
        `trace=${call}`,
        '-e',
        inject,
        tinyctr,
        '--root',
        root,
        ...words,
      ];
      return spawnSync('strace', args, { stdio: 'ignore' }).signal === 'SIGKILL';
    };
    // Node itself opens many files before the first of ours.
    const [first, step] = call === 'openat' ? [20, 7] : [1, 1];
    let killed = 0;
    for (const words of [
      ['import', file, 'x'],
      ['rmi', 'x'],
    ]) {
      for (let n = first; n < first + 30 * step && kill(n, words); n += step) {
        killed++;
        cleanStore(root);
        if (existsSync(join(root, 'names'))) checkStore(); // the last of the folders that are made at the beginning
        if (words[0] === 'rmi' && findImage(root, 'x') === undefined) await importImage(root, file, 'x', []);
      }
      if (words[0] === 'import') await importImage(root, file, 'x', []);
    }
    expect(killed).toBeGreaterThan(3);
  });
});

describe('the embedded image, and one that is not here', needs({ root: true }), () => {
  test('busybox is made once, without any network, and is the same each time', async () => {
    const image = (await ensureImage(root, 'busybox'))!;
    expect(image).toMatchObject({ names: ['busybox:latest'], config: { Cmd: ['sh'] } });
    const layer = join(layersFolder(root), image.layers[0]!);
    expect(spawnSync(join(layer, 'bin/busybox'), ['echo', 'it runs']).stdout.toString()).toBe('it runs\n');
    const applets = spawnSync(join(layer, 'bin/busybox'), ['--list']).stdout.toString().trim().split('\n');
    expect(readdirSync(join(layer, 'bin')).sort()).toEqual(applets.sort());
    expect(snapshot(layer).get('tmp')?.mode).toBe('1777');
    const again = await ensureImage(root, 'docker.io/library/busybox:latest');
    expect(again?.id).toBe(image.id);
    removeImage(root, 'busybox', false);
    expect((await ensureImage(root, 'busybox'))?.id).toBe(image.id);
    checkStore();
  });

  test('alpine without a registry: the address and the command, word by word', async () => {
    const error = await ensureImage(root, 'alpine', { pull: 'never' }).catch((e) => e);
    expect(error.message).toBe("Unable to find image 'alpine:latest' locally, and --pull never forbids to fetch it");
    const [, url, command] = error.hint.split('\n').map((line: string) => line.trim());
    const file = `alpine-minirootfs-3.20.3-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.tar.gz`;
    expect(url).toMatch(new RegExp(`^curl -LO https://dl-cdn\\.alpinelinux\\.org/.*/${file}$`));
    expect(command).toBe(`sudo tinyctr import ${file} alpine --change 'CMD ["/bin/sh"]'`);
  });

  test('any other image: how it is saved elsewhere and loaded here', async () => {
    const error = await ensureImage(root, 'quay.io/some/thing:1', { pull: 'never' }).catch((e) => e);
    expect(error.hint).toContain('docker save quay.io/some/thing:1 -o image.tar');
    expect(error.hint).toContain('sudo tinyctr load -i image.tar');
    await expect(ensureImage(root, `sha256:${'0'.repeat(64)}`)).rejects.toThrow('No such image');
    await expect(ensureImage(root, 'Not A Name')).rejects.toThrow('invalid reference format');
  });
});
