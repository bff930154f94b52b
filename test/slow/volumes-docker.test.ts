/** Volumes beside a real Docker: the same commands, the same listings, contents, owners and modes. */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DOCKER_NEEDS, Docker } from '../support/dockerd.ts';
import { needs } from '../support/need.ts';
import { dockerArchive } from '../support/saved-image.ts';
import { Engine } from '../support/tinyctr.ts';

describe('volumes', needs(DOCKER_NEEDS), () => {
  let engine: Engine;
  let docker: Docker;
  beforeAll(async () => {
    engine = await new Engine().prepare();
    docker = await Docker.start(`${engine.folder}/docker`);
    const file = imageFile();
    await docker.must('load', '-i', file);
    await engine.must('load', '-i', file);
  }, 120_000);
  afterAll(async () => {
    await docker?.stop();
    engine.remove();
  }, 60_000);

  /** A plain image and one with VOLUMEs; two layers. */
  function imageFile(): string {
    const rootfs = engine.rootfs();
    mkdirSync(`${rootfs}/data/sub`, { recursive: true });
    writeFileSync(`${rootfs}/data/file`, 'text\n');
    chownSync(`${rootfs}/data/file`, 12, 34);
    chmodSync(`${rootfs}/data/file`, 0o4751);
    linkSync(`${rootfs}/data/file`, `${rootfs}/data/sub/same`);
    symlinkSync('/etc/passwd', `${rootfs}/data/link`);
    symlinkSync('/data/sub', `${rootfs}/way`);
    execFileSync('mkfifo', [`${rootfs}/data/fifo`]);
    execFileSync('mknod', [`${rootfs}/data/zero`, 'c', '1', '5']);
    chmodSync(`${rootfs}/data`, 0o1770);
    chownSync(`${rootfs}/data`, 5, 6);
    for (const path of ['file', 'sub']) utimesSync(`${rootfs}/data/${path}`, 1_000_000_000, 1_000_000_000);
    const above = `${engine.folder}/above`;
    mkdirSync(`${above}/data`, { recursive: true });
    chmodSync(`${above}/data`, 0o1770);
    chownSync(`${above}/data`, 5, 6);
    writeFileSync(`${above}/data/second`, '');
    const layers = [rootfs, above].map((path) => execFileSync('tar', ['-C', path, '-c', '.'], { maxBuffer: 1 << 26 }));
    const config = { Cmd: ['true'], Volumes: { '/data': {}, '/none': {} } };
    const images = [
      { layers, tags: ['plain:1'] },
      { layers, tags: ['made:1'], more: { config } },
    ];
    writeFileSync(`${engine.folder}/images.tar`, dockerArchive(...images));
    return `${engine.folder}/images.tar`;
  }

  interface Side {
    call(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }>;
    /** Where its volumes are. */
    folder: string;
  }
  const sides = (): [docker: Side, tinyctr: Side] => [
    { call: (...words) => docker.call(...words), folder: `${engine.folder}/docker/data/volumes` },
    { call: (...words) => engine.run(...words), folder: `${engine.root}/volumes` },
  ];

  /** Names that were made up, times and places are of each side's own. */
  const plain = (text: string, { folder }: Side, seen: Map<string, string>): string => {
    const nameOf = (hex: string) => {
      if (!seen.has(hex)) seen.set(hex, `hex-${seen.size}`);
      return seen.get(hex)!;
    };
    return text
      .replaceAll(folder, 'VOLUMES')
      .replaceAll(/\b[0-9a-f]{64}\b/g, nameOf)
      .replaceAll(/"CreatedAt": "[^"]*"/g, '"CreatedAt": "…"');
  };

  /** Standard output and status of each, by its words; what went wrong is told in other words, and on other streams. */
  async function both(
    commands: readonly string[][],
    show: (stdout: string, words: string[]) => unknown = (text) => text,
  ) {
    const told: unknown[][] = [];
    for (const side of sides()) {
      const seen = new Map<string, string>();
      const lines: unknown[] = [];
      for (const words of commands) {
        const { code, stdout } = await side.call(...words);
        lines.push([words.join(' '), code === 0, show(plain(stdout, side, seen), words)]);
      }
      told.push(lines);
    }
    expect(told[1]).toEqual(told[0]);
  }

  const sorted = (text: string) => text.split('\n').sort().join('\n');
  const quiet = ['--network', 'none'];

  test('create, ls, inspect, rm', async () => {
    await both([
      ['volume', 'create', 'one'],
      ['volume', 'create', 'one'],
      ['volume', 'create', '--label', 'only=x', 'two'],
      ['volume', 'create', '.x'],
      ['volume', 'create', '../x'],
      ['volume', 'create', 'y'],
      ['volume', 'inspect', 'one', 'two'],
      ['volume', 'inspect', 'gone', 'one'],
      ['volume', 'ls'],
      ['volume', 'ls', '-q', '--filter', 'name=w'],
      ['volume', 'ls', '-q', '--filter', 'name=^o'],
      ['volume', 'ls', '--filter', 'label=only', '--format', 'json'],
      ['volume', 'ls', '-q', '--filter', 'label=other'],
      ['volume', 'ls', '-q', '--filter', 'size=1'],
      ['volume', 'rm', 'gone', 'one'],
      ['volume', 'rm', '-f', 'gone'],
      ['volume', 'rm', 'two'],
      ['volume', 'ls', '-q'],
    ]);
  });

  const look =
    "cd /data && find . | sort | xargs stat -c '%n %F %a %u:%g %t,%T' && stat -c '%n %h %Y' file && stat -c '%n %h' sub && cat file sub/same";

  test('copy-up: what a container finds, and what is on disk', async () => {
    const run = (...words: string[]) => ['run', '--rm', ...quiet, ...words];
    await both([
      run('-v', 'full:/data', 'plain:1', 'sh', '-c', look),
      run('-v', 'full:/data:ro', 'plain:1', 'sh', '-c', look),
      run('made:1', 'sh', '-c', `${look}; ls -lnd /none | cut -c1-20`),
      run('-v', 'bare:/data:nocopy', 'plain:1', 'sh', '-c', "ls -A /data; stat -c '%a %u:%g' /data"),
      run('-v', 'bare:/data', 'plain:1', 'ls', '-A', '/data'),
      run('-v', 'bare:/home', 'plain:1', 'ls', '-A', '/home'), // not empty any more
      run('-v', 'none:/not/there', 'plain:1', 'sh', '-c', "ls -A /not/there; stat -c '%a %u:%g' /not/there"),
      run('-v', 'way:/way', 'plain:1', 'ls', '-A', '/way', '/data/sub'),
      run('-v', 'first:/data', '-v', 'second:/data/sub', 'plain:1', 'ls', '-A', '/data', '/data/sub'),
      ['volume', 'ls', '-q'],
    ]);
    const tree = ({ folder }: Side) =>
      ['full', 'bare', 'none', 'way', 'first', 'second'].map((name) =>
        execFileSync('find', ['.', '-printf', '%p %M %U:%G %l\n'], {
          cwd: `${folder}/${name}/_data`,
          encoding: 'utf8',
        }),
      );
    const [theirs, ours] = sides().map(tree);
    expect(ours!.map(sorted)).toEqual(theirs!.map(sorted));
    const names = ['full', 'bare', 'none', 'way', 'first', 'second'];
    await both([
      ['volume', 'rm', ...names],
      ['volume', 'ls', '-q'],
    ]);
  }, 120_000);

  test('whose they are: inspect, in use, rm with and without -v, prune', async () => {
    const mounts = ['-v', 'named:/a', '-v', 'still:/b:ro', '-v', '/c', '--mount', 'src=named2,dst=/d,readonly'];
    await both(
      [
        [
          'create',
          '--name',
          'of-it',
          ...quiet,
          ...mounts,
          '--mount',
          'type=volume,dst=/e,volume-label=k=v',
          'made:1',
          'true',
        ],
        ['inspect', 'of-it'],
        ['volume', 'rm', 'named'],
        ['volume', 'ls', '-q', '--filter', 'dangling=true'],
        ['rm', '-v', 'of-it'],
        ['volume', 'ls', '-q'],
        ['create', '--name', 'other', ...quiet, '-v', '/c', 'plain:1', 'true'],
        ['rm', 'other'],
        ['run', '--rm', ...quiet, '-v', '/c', '-v', 'still:/x', 'made:1', 'true'],
        ['volume', 'rm', 'named', 'named2', 'still'],
        ['volume', 'ls', '-q', '--filter', 'dangling=true'],
        ['volume', 'prune', '-f'],
        ['volume', 'ls', '-q'],
      ],
      (stdout, words) => {
        if (words[0] !== 'inspect') return words[0] === 'create' ? '' : stdout;
        const [inspected] = JSON.parse(stdout);
        if (inspected === undefined) return 'nothing';
        const { Mounts, Config, HostConfig } = inspected;
        const byPlace = [...Mounts].sort((a, b) => (a.Destination < b.Destination ? -1 : 1));
        const named = byPlace.map((mount) => ({
          ...mount,
          Name: /^hex/.test(mount.Name) ? 'hex' : mount.Name,
          Source: '',
        }));
        // Docker's client goes through its -v options in no order.
        return { Mounts: named, Volumes: Config.Volumes, Binds: HostConfig.Binds?.toSorted() };
      },
    );
  }, 120_000);
});
