/** save, and what others make of it; what others save, and what we make of it. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cleanStore } from '../../../src/image/clean.ts';
import { listImages } from '../../../src/image/records.ts';
import * as a from '../../support/archives.ts';
import { DOCKER_NEEDS, Docker } from '../../support/dockerd.ts';
import { needs } from '../../support/need.ts';
import { PodmanImages } from '../../support/podman-images.ts';
import { Pty } from '../../support/pty.ts';
import { dockerArchive, sha256 } from '../../support/saved-image.ts';
import { Engine, runProgram, until } from '../../support/tinyctr.ts';
import { snapshot } from './snapshot.ts';

let engine: Engine;
let other: Engine;

beforeEach(() => {
  engine = new Engine();
  other = new Engine();
});
afterEach(() => {
  engine.remove();
  other.remove();
});

const lower = a.archive(
  a.directory('etc/'),
  a.file('etc/gone', 'x'),
  a.file('etc/kept', 'kept', { uid: 7, mode: 0o4755 }),
);
const upper = a.archive(a.file('etc/.wh.gone'), a.file('etc/new', 'new'), a.hardLink('etc/second', 'etc/new'));

const must = async (at: Engine, ...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await at.run(...words);
  if (code !== 0) throw new Error(`tinyctr ${words.join(' ')}: ${stderr}`);
  return stdout;
};
const loadTwo = () => {
  writeFileSync(
    `${engine.folder}/two.tar`,
    dockerArchive(
      { layers: [lower], tags: ['one'] },
      { layers: [lower, upper, lower], tags: ['localhost:5000/two:v2'] },
    ),
  );
  return must(engine, 'load', '-i', `${engine.folder}/two.tar`);
};
const out = () => `${engine.folder}/out`;
const digestOfFile = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const images = (at: Engine) =>
  listImages(at.root).map(({ id, names }) => ({ id, names: names.filter((name) => !name.includes('@')) }));

/** A layer's files. Directories that the archive only implies, and whiteouts, have the time of their making. */
const filesOf = (at: Engine, layer: string) =>
  [...snapshot(`${at.root}/layers/${layer}`)].map(([name, { mtimeNs, ...node }]) =>
    node.type === 'file' ? { name, mtimeNs, ...node } : { name, ...node },
  );

/** Nothing but what images need, and each archive what its name says. */
function checkStore(at: Engine): void {
  const all = listImages(at.root);
  expect(readdirSync(`${at.root}/layers`).sort()).toEqual([...new Set(all.flatMap(({ layers }) => layers))].sort());
  const blobs = readdirSync(`${at.root}/blobs/sha256`).filter((name) => !name.endsWith('.layer'));
  const needed = all.flatMap(({ content, manifest }) => [
    ...content.map(({ blob }) => blob!.digest),
    ...(manifest ? [manifest.digest] : []),
  ]);
  expect(blobs.map((name) => `sha256:${name}`).sort()).toEqual([...new Set(needed)].sort());
  for (const name of blobs) expect(digestOfFile(`${at.root}/blobs/sha256/${name}`)).toBe(name);
}

describe('a round trip', needs({ root: true }), () => {
  test.each(['docker-archive', 'oci-archive', 'oci-dir'])('%s: the same images, names and files', async (format) => {
    await loadTwo();
    await must(engine, 'tag', 'one', 'quay.io/another/name:1');
    expect(
      await must(
        engine,
        'save',
        '--format',
        format,
        '-o',
        out(),
        'one',
        'localhost:5000/two:v2',
        'quay.io/another/name:1',
      ),
    ).toBe('');
    await must(other, 'load', '-i', out());
    expect(images(other)).toEqual(images(engine));
    for (const name of readdirSync(`${engine.root}/layers`))
      expect(filesOf(other, name)).toEqual(filesOf(engine, name));
    checkStore(engine);
    checkStore(other);
  });

  test.each(['docker-archive', 'oci-archive'])(
    '%s: the same bytes each time, also on standard output',
    async (format) => {
      await loadTwo();
      await must(engine, 'save', '--format', format, '-o', out(), 'one', 'localhost:5000/two:v2');
      const piped = `"$@" | sha256sum | cut -c -64`;
      const again = await runProgram('sh', [
        '-c',
        piped,
        'sh',
        ...engine.command,
        'save',
        '--format',
        format,
        'one',
        'localhost:5000/two:v2',
      ]);
      expect(again).toMatchObject({ stderr: '', stdout: `${digestOfFile(out())}\n` });
      expect(statSync(out()).mode & 0o777).toBe(0o600);
    },
  );

  test('an image that came by a manifest is saved by the same manifest', async () => {
    await loadTwo();
    await must(engine, 'save', '--format', 'oci-dir', '-o', out(), 'one');
    // Another compression than ours, as from elsewhere: only the archives that came can give that manifest again.
    const blob = (bytes: Buffer) => {
      writeFileSync(`${out()}/blobs/sha256/${sha256(bytes)}`, bytes);
      return { digest: `sha256:${sha256(bytes)}`, size: bytes.length };
    };
    const [entry] = JSON.parse(readFileSync(`${out()}/index.json`, 'utf8')).manifests;
    const manifest = JSON.parse(readFileSync(`${out()}/blobs/sha256/${entry.digest.slice(7)}`, 'utf8'));
    manifest.layers[0] = { ...manifest.layers[0], ...blob(gzipSync(lower, { level: 1 })) };
    const described = { ...entry, ...blob(Buffer.from(JSON.stringify(manifest, null, 3))) };
    writeFileSync(`${out()}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [described] }));
    await must(other, 'load', '-i', out());
    await must(other, 'save', '--format', 'oci-dir', '-o', `${other.folder}/again`, 'one');
    expect(JSON.parse(readFileSync(`${other.folder}/again/index.json`, 'utf8')).manifests[0].digest).toBe(
      described.digest,
    );
  });

  test('an id saves the image without a name', async () => {
    await loadTwo();
    const { id } = images(engine).find(({ names }) => names.includes('one:latest'))!;
    for (const format of ['docker-archive', 'oci-archive']) {
      await must(engine, 'save', '--format', format, '-o', out(), id.slice(0, 12));
      expect(await must(other, 'load', '-i', out())).toBe(`Loaded image ID: sha256:${id}\n`);
      await must(other, 'rmi', id);
    }
    expect(images(other)).toEqual([]);
  });

  test('the embedded image, and one of a directory', async () => {
    mkdirSync(`${engine.folder}/tree/bin`, { recursive: true });
    writeFileSync(`${engine.folder}/tree/bin/sparse`, '');
    truncateSync(`${engine.folder}/tree/bin/sparse`, 3_000_000);
    symlinkSync('sparse', `${engine.folder}/tree/bin/link`);
    await must(engine, 'import', `${engine.folder}/tree`, 'dir');
    await must(engine, 'save', '--format', 'oci-archive', '-o', out(), 'busybox', 'dir');
    await must(other, 'load', '-i', out());
    expect(images(other)).toEqual(images(engine));
    expect((await other.run('run', '--rm', 'busybox', 'echo', 'hello')).stdout).toBe('hello\n');
  });
});

describe('archives', needs({ root: true }), () => {
  const archives = () => readdirSync(`${engine.root}/blobs/sha256`).filter((name) => !name.endsWith('.layer'));

  test('one that came without compression is replaced by its compressed form when that is first needed', async () => {
    await loadTwo();
    expect(archives().sort()).toEqual([sha256(lower), sha256(upper)].sort());
    await must(engine, 'save', '-o', out(), 'one');
    expect(archives().sort()).toEqual([sha256(lower), sha256(upper)].sort());
    await must(engine, 'save', '--format', 'oci-dir', '-o', `${engine.folder}/oci`, 'localhost:5000/two:v2');
    // The other image still has the plain one.
    expect(archives()).toHaveLength(3);
    expect(archives()).toContain(sha256(lower));
    await must(engine, 'save', '--format', 'oci-archive', '-o', out(), 'one');
    expect(archives()).toHaveLength(2);
    expect(archives()).not.toContain(sha256(lower));
    checkStore(engine);
    await must(engine, 'rmi', 'one');
    expect(archives()).toHaveLength(2);
    await must(engine, 'save', '-o', out(), 'localhost:5000/two:v2');
    await must(engine, 'rmi', 'localhost:5000/two:v2');
    expect(archives()).toEqual([]);
  });

  test('a store without archives: they are made of the files where these give the same layer, or the error says so', async () => {
    mkdirSync(`${engine.folder}/tree`);
    writeFileSync(`${engine.folder}/tree/f`, 'content');
    await must(engine, 'import', `${engine.folder}/tree`, 'dir');
    await loadTwo();
    rmSync(`${engine.root}/blobs`, { recursive: true });
    await must(engine, 'save', '-o', out(), 'dir');
    await must(other, 'load', '-i', out());
    expect(images(other)).toEqual(images(engine).filter(({ names }) => names.includes('dir:latest')));
    const { code, stderr } = await engine.run('save', '-o', `${out()}2`, 'localhost:5000/two:v2');
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(
        /is not in the store any more[\s\S]*hint: remove the image and pull, load or import it again/,
      ),
    ]);
    expect(existsSync(`${out()}2`)).toBe(false);
    expect(readdirSync(`${engine.root}/layers`).filter((name) => name.startsWith('tmp-'))).toEqual([]);
  });

  test.each(['docker-archive', 'oci-archive'])('%s: a damaged one is an error, and no file is made', async (format) => {
    await loadTwo();
    await must(engine, 'save', '--format', 'oci-archive', '-o', out(), 'one');
    const file = `${engine.root}/blobs/sha256/${archives().find((name) => ![sha256(lower), sha256(upper)].includes(name))}`;
    const bytes = readFileSync(file);
    writeFileSync(file, Buffer.concat([gzipSync(upper), bytes]).subarray(0, bytes.length));
    const { code, stderr } = await engine.run('save', '--format', format, '-o', `${out()}2`, 'one');
    expect([code, stderr]).toEqual([125, expect.stringMatching(/damaged/)]);
    expect(readdirSync(engine.folder).filter((name) => name.includes('out2'))).toEqual([]);
  });
});

describe('where it goes', needs({ root: true }), () => {
  test('not to a terminal', async () => {
    await loadTwo();
    const terminal = new Pty([...engine.command, 'save', 'one']);
    expect(await terminal.ended).toBe(125);
    expect(terminal.screen).toContain('an archive is not written to a terminal');
  });

  test("what can't be written is one error that changes nothing", async () => {
    await loadTwo();
    const error = async (...words: string[]) => (await engine.run('save', ...words)).stderr.split('\n')[0];
    mkdirSync(out());
    writeFileSync(`${out()}/full`, '');
    expect(await error('-o', out(), 'one')).toContain(`${out()} is a directory`);
    expect(await error('--format', 'oci-dir', '-o', out(), 'one')).toContain('is not empty');
    expect(await error('--format', 'oci-dir', '-o', `${out()}/full`, 'one')).toContain('is no directory');
    expect(await error('--format', 'oci-dir', 'one')).toContain('needs -o DIR');
    expect(await error('-o', `${out()}/missing/x`, 'one')).toContain(`the directory ${out()}/missing does not exist`);
    expect(await error('-o', '/dev/full', 'one')).toBe("tinyctr: /dev/full can't be written: no space left on device");
    expect(await error('-o', `${out()}/x`, 'one', 'nothing')).toBe('tinyctr: No such image: nothing');
    expect(readdirSync(out())).toEqual(['full']);
  });

  test('a reader that goes away is an error', async () => {
    const words = [...engine.command, 'save', 'busybox'];
    const { stdout, stderr } = await runProgram('bash', [
      '-c',
      'set -o pipefail; "$@" | head -c 10 >/dev/null; echo $?',
      'bash',
      ...words,
    ]);
    expect([stdout, stderr.split('\n')[0]]).toEqual([
      '125\n',
      "tinyctr: standard output can't be written: broken pipe",
    ]);
  });

  test('a full disk: the old file stays, nothing is left beside it', async () => {
    await loadTwo();
    mkdirSync(`${engine.folder}/small`);
    const script =
      'mount -t tmpfs -o size=1m small "$0" && echo old > "$0/x" && ("$@" 2>&1; echo $?; ls -A "$0"; cat "$0/x"; df --output=used -k "$0" | tail -1)';
    const words = [...engine.command, 'save', '-o', `${engine.folder}/small/x`, 'busybox'];
    const { stdout } = await runProgram('unshare', ['-m', 'sh', '-c', script, `${engine.folder}/small`, ...words]);
    expect(
      stdout
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => !line.startsWith('call') && !line.startsWith('because')),
    ).toEqual([
      `tinyctr: ${engine.folder}/small/x can't be written: no space left on device`,
      '125',
      'x',
      'old',
      '4',
      '',
    ]);
  });

  test('a full disk below the store: load and import leave nothing', async () => {
    mkdirSync(`${engine.folder}/small`);
    writeFileSync(`${engine.folder}/big.tar`, a.archive(a.file('big', 'x'.repeat(700_000))));
    writeFileSync(
      `${engine.folder}/saved.tar`,
      dockerArchive({ layers: [a.archive(a.file('big', 'x'.repeat(700_000)))], tags: ['x'] }),
    );
    // Room for the files or for the archive, not for both.
    const script = `mount -t tmpfs -o size=1m small "$0"; shift; "$@" import ${engine.folder}/big.tar x 2>&1; echo $?; "$@" load -i ${engine.folder}/saved.tar 2>&1; echo $?; "$@" images -q; cd "$0/root" && find layers blobs images names configs -mindepth 1`;
    const command = [engine.command[0]!, '--root', `${engine.folder}/small/root`];
    const { stdout } = await runProgram('unshare', [
      '-m',
      'sh',
      '-c',
      script,
      `${engine.folder}/small`,
      '--',
      ...command,
    ]);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => line.includes('no space left on device')).length).toBeGreaterThanOrEqual(2);
    expect(lines.filter((line) => line === '125')).toHaveLength(2);
    expect(lines.slice(lines.lastIndexOf('125') + 1)).toEqual(['blobs/sha256', '']);
  });
});

describe('the end at any moment', needs({ root: true }), () => {
  /** An image of some size, so that saving takes a while. */
  const loadLarge = async () => {
    const noise = Buffer.alloc(40_000_000);
    for (let i = 0; i < noise.length; i += 4) noise.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
    writeFileSync(`${engine.folder}/large.tar`, a.archive({ name: 'noise', data: noise }));
    await must(engine, 'import', `${engine.folder}/large.tar`, 'large');
  };
  const beside = () => readdirSync(engine.folder).filter((name) => name.includes('.saving-'));

  test.each([
    ['SIGKILL', 1],
    ['SIGINT', 0],
    ['SIGTERM', 0],
  ] as const)('%s: no file under the final name', async (signal, left) => {
    await loadLarge();
    const child = spawn(engine.command[0]!, [...engine.command.slice(1), 'save', '-o', out(), 'large'], {
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
    await until('it writes', () => beside().length > 0 || child.exitCode !== null, 30_000);
    child.kill(signal);
    expect(await ended).toBe(signal);
    expect(existsSync(out())).toBe(false);
    expect(beside()).toHaveLength(left);
    cleanStore(engine.root);
    checkStore(engine);
    await must(engine, 'save', '-o', out(), 'large');
    await must(other, 'load', '-i', out());
    expect(images(other)).toEqual(images(engine));
  });

  test('kill -9 anywhere: the store is right, and nothing is lost', async () => {
    await loadLarge();
    await loadTwo();
    const before = images(engine);
    const words = ['save', '--format', 'oci-archive', '-o', out(), 'large', 'one', 'localhost:5000/two:v2'];
    for (let delayMs = 50; delayMs <= 2000; delayMs = Math.round(delayMs * 1.4)) {
      const child = spawn(engine.command[0]!, [...engine.command.slice(1), ...words], { stdio: 'ignore' });
      const timer = setTimeout(() => child.kill('SIGKILL'), delayMs);
      const code = await new Promise((resolve) => child.once('close', resolve));
      clearTimeout(timer);
      expect(existsSync(out())).toBe(code === 0);
      rmSync(out(), { force: true });
      await must(engine, 'cleanup');
      expect(images(engine)).toEqual(before);
      checkStore(engine);
    }
    await must(engine, ...words);
    await must(other, 'load', '-i', out());
    expect(images(other)).toEqual(before);
  });

  test('while images are removed', async () => {
    await loadTwo();
    const [saved] = await Promise.all([
      engine.run('save', '--format', 'oci-archive', '-o', out(), 'one', 'localhost:5000/two:v2'),
      engine.run('rmi', 'one'),
      engine.run('image', 'prune', '-af'),
    ]);
    if (saved.code === 0) {
      await must(other, 'load', '-i', out());
      expect(listImages(other.root)).toHaveLength(2);
    } else expect(existsSync(out())).toBe(false);
    cleanStore(engine.root);
    checkStore(engine);
  });
});

describe('skopeo and podman', needs({ root: true, command: ['skopeo', 'podman'] }), () => {
  const skopeo = (...words: string[]) =>
    execFileSync('skopeo', ['--insecure-policy', ...words], { encoding: 'utf8', stdio: 'pipe' });

  test('skopeo reads all three formats, one image of several', async () => {
    await loadTwo();
    for (const [format, transport] of [
      ['docker-archive', 'docker-archive'],
      ['oci-archive', 'oci-archive'],
      ['oci-dir', 'oci'],
    ] as const) {
      const path = `${out()}-${format}`;
      await must(engine, 'save', '--format', format, '-o', path, 'one', 'localhost:5000/two:v2');
      const seen = JSON.parse(skopeo('inspect', '--config', `${transport}:${path}:localhost:5000/two:v2`));
      expect(seen.rootfs.diff_ids).toEqual([lower, upper, lower].map((layer) => `sha256:${sha256(layer)}`));
      skopeo(
        'copy',
        '-q',
        `${transport}:${path}:docker.io/library/one:latest`,
        `docker-archive:${path}.copy:one:latest`,
      );
      await must(other, 'load', '-i', `${path}.copy`);
    }
    expect(images(other).map(({ id }) => id)).toEqual([
      images(engine).find(({ names }) => names[0] === 'one:latest')!.id,
    ]);
  });

  test.each(['docker-archive', 'oci-archive'])('podman loads %s and runs it', async (format) => {
    await must(engine, 'save', '--format', format, '-o', out(), 'busybox');
    const podman = new PodmanImages(`${engine.folder}/podman`);
    expect(await podman.must('load', '-q', '-i', out())).toBe('Loaded image: docker.io/library/busybox:latest\n');
    expect(await podman.run('busybox', 'sh', '-c', 'echo hello; ls -l /bin/sh')).toMatch(/^hello\n.*\/bin\/busybox\n$/);
    expect((await podman.must('images', '-q', '--no-trunc')).trim()).toBe(`sha256:${images(engine)[0]!.id}`);
  });

  test.each(['docker-archive', 'oci-archive', 'oci-dir'])(
    'what podman saves as %s comes back and runs',
    async (format) => {
      await must(engine, 'save', '-o', out(), 'busybox');
      const podman = new PodmanImages(`${engine.folder}/podman`);
      await podman.must('load', '-q', '-i', out());
      await podman.must('save', '-q', '--format', format, '-o', `${out()}2`, 'busybox');
      await must(other, 'load', '-i', `${out()}2`);
      expect(images(other)[0]!.names).toEqual(['busybox:latest']);
      expect((await other.run('run', '--rm', 'busybox', 'echo', 'hello')).stdout).toBe('hello\n');
    },
  );
});

describe('docker', needs(DOCKER_NEEDS), () => {
  let docker: Docker;
  let folder: Engine;

  beforeAll(async () => {
    folder = new Engine();
    docker = await Docker.start(`${folder.folder}/docker`);
  });
  afterAll(async () => {
    await docker.stop();
    folder.remove();
  });

  test('loads what we save, saves what we load, and shows the same history', async () => {
    const created = '2026-01-02T03:04:05Z';
    const history = [
      { created, created_by: 'ADD lower', comment: 'c' },
      { created, created_by: 'CMD', empty_layer: true },
      { created, created_by: 'ADD upper' },
    ];
    writeFileSync(
      `${engine.folder}/made.tar`,
      dockerArchive({ layers: [lower, upper], tags: ['localhost:5000/two:v2'], more: { history } }),
    );
    await must(engine, 'load', '-i', `${engine.folder}/made.tar`);
    await must(engine, 'save', '-o', out(), 'busybox', 'localhost:5000/two:v2');
    expect(await docker.must('load', '-i', out())).toBe(
      'Loaded image: busybox:latest\nLoaded image: localhost:5000/two:v2\n',
    );
    const ids = (text: string) => text.trim().split('\n').sort();
    expect(ids(await docker.must('images', '-q'))).toEqual(ids(await must(engine, 'images', '-q')));

    await docker.must('save', '-o', `${out()}2`, 'busybox', 'localhost:5000/two:v2');
    await must(other, 'load', '-i', `${out()}2`);
    expect(images(other)).toEqual(images(engine));
    for (const name of readdirSync(`${engine.root}/layers`))
      expect(filesOf(other, name)).toEqual(filesOf(engine, name));

    const lines = (text: string) => text.split('\n').map((line) => line.trim().split(/ {2,}/));
    for (const words of [['history'], ['history', '--no-trunc'], ['history', '-q']]) {
      const ours = lines(await must(engine, ...words, 'localhost:5000/two:v2'));
      expect(ours).toEqual(lines(await docker.must(...words, 'localhost:5000/two:v2')));
    }
    const keys = (text: string) => Object.keys(JSON.parse(text.split('\n')[0]!)).sort();
    expect(keys(await must(engine, 'history', '--format', 'json', 'busybox'))).toEqual(
      keys(await docker.must('history', '--format', '{{json .}}', 'busybox')),
    );
  });
});
