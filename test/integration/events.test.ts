/** tinyctr events: what is told of containers and images, held against a real Docker; the journal behind it. */
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FULL_BYTES, journalFile, journalFolder, olderFile } from '../../src/engine/journal.ts';
import { DOCKER_NEEDS, Docker } from '../support/dockerd.ts';
import { needs } from '../support/need.ts';
import { Engine, until } from '../support/tinyctr.ts';

interface Told {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
}

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const parse = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Told);
const told = async (...options: string[]) =>
  parse(await must('events', '--since', '1h', '--until', '0s', '--format', 'json', ...options));
const actions = (events: readonly Told[]) => events.map(({ Action }) => Action);

describe('events', needs({ root: true }), () => {
  test('of run --rm: two writes in all', async () => {
    rmSync(journalFolder(engine.root), { recursive: true });
    expect(
      (await engine.run('run', '--rm', '--name', 'short', '-l', 'k=v', 'busybox', 'sh', '-c', 'exit 3')).code,
    ).toBe(3);
    expect(readFileSync(journalFile(engine.root), 'utf8').trim().split('\n\n')).toHaveLength(2);
    const events = await told('--filter', 'container=short');
    expect(actions(events)).toEqual(['create', 'attach', 'start', 'die', 'destroy']);
    expect(events[3]!.Actor.Attributes).toEqual({ exitCode: '3', image: 'busybox', k: 'v', name: 'short' });
    expect(
      (await must('events', '--since', '1h', '--until', '0s', '--filter', 'event=die')).split('\n').at(-1),
    ).toMatch(
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}(Z|[+-]\\d\\d:\\d\\d) container die ${events[3]!.Actor.ID} \\(exitCode=3, image=busybox, k=v, name=short\\)$`,
      ),
    );
  });

  test('filters: of one kind any, of several kinds each', async () => {
    const both = ['--filter', 'event=start', '--filter', 'event=die'];
    expect(actions(await told(...both, '--filter', 'label=k=v'))).toEqual(['start', 'die']);
    for (const filter of ['label=k=w', 'type=image', 'image=alpine', 'container=other'])
      expect(await told(...both, '--filter', filter)).toEqual([]);
    expect(
      actions(await told('--filter', 'image=busybox', '--filter', 'container=sho', '--filter', 'event=die')),
    ).toEqual(['die']);
    expect(await engine.run('events', '--filter', 'colour=red')).toMatchObject({ code: 125 });
    expect(await engine.run('events', '--since', 'yesterday')).toMatchObject({ code: 125 });
    expect(await engine.run('events', '--format', '{{.ID}}')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('jq'),
    });
  });

  test('as they happen, each once, also when the journal is put aside meanwhile', async () => {
    const [program, ...words] = engine.command;
    const child = spawn(program!, [...words, 'events', '--since', '1h', '--format', 'json', '-f', 'event=tag'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes;
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      let tags = 0;
      // It is there when it has told of something.
      for (const end = Date.now() + 30_000; text === '' && Date.now() < end; )
        await must('tag', 'busybox', `t:${++tags}`);
      for (let i = 0; i < 3; i++) {
        appendFileSync(journalFile(engine.root), `${'x'.repeat(FULL_BYTES)}\n`);
        await Promise.all([1, 2, 3].map(() => must('tag', 'busybox', `t:${++tags}`)));
      }
      expect(readFileSync(olderFile(engine.root)).length).toBeGreaterThan(FULL_BYTES);
      await until('all are told', () => parse(text).length >= tags, 30_000);
      const names = parse(text).map(({ Actor }) => Actor.Attributes.name);
      expect(names.sort()).toEqual(Array.from({ length: tags }, (_, i) => `t:${i + 1}`).sort());
    } finally {
      child.kill('SIGINT');
    }
    await ended;
    expect(child.signalCode).toBe('SIGINT');
  });

  test('a container whose tinyctr was killed dies in the journal too', async () => {
    const child = engine.spawn('run', '--rm', '--name', 'orphan', 'busybox', 'sleep', '1000');
    const starts = async () => (await told('--filter', 'container=orphan', '--filter', 'event=start')).length;
    for (const end = Date.now() + 30_000; (await starts()) === 0 && Date.now() < end; );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    await must('ps');
    expect(actions(await told('--filter', 'container=orphan'))).toEqual([
      'create',
      'attach',
      'start',
      'die',
      'destroy',
    ]);
  });

  test('a journal that can’t be written is told, and fails nothing', async () => {
    const elsewhere = new Engine();
    try {
      mkdirSync(elsewhere.root);
      writeFileSync(journalFolder(elsewhere.root), 'in the way');
      const { code, stdout, stderr } = await elsewhere.run('run', '--rm', 'busybox', 'echo', 'works');
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'works\n' });
      expect(stderr).toMatch(/^tinyctr: warning: events could not be written to .*: ENOTDIR.*\n$/);
    } finally {
      elsewhere.remove();
    }
  });
});

/** Ids and names are each one's own; the values that count are compared. */
function comparable(events: readonly Told[]): string[] {
  return events
    .filter(({ Type }) => Type === 'container' || Type === 'image')
    .map(({ Type, Action, Actor: { Attributes } }) => {
      const { exitCode = '', signal = '', image = '', name = '', oldName = '' } = Attributes;
      const shown = [exitCode, signal, image, name.replace(/^sha256:.*/, 'sha256'), oldName].join(' ');
      return `${Type} ${Action} ${Object.keys(Attributes).sort().join()} ${shown}`;
    });
}

describe('beside docker', needs(DOCKER_NEEDS), () => {
  test('the same commands tell the same', { timeout: 120_000 }, async () => {
    const docker = await Docker.start(`${engine.folder}/docker`);
    try {
      await must('save', '-o', `${engine.folder}/busybox.tar`, 'busybox');
      writeFileSync(`${engine.folder}/file`, '');
      const life = async (call: (...words: string[]) => Promise<unknown>, create: string[]) => {
        await call('load', '-i', `${engine.folder}/busybox.tar`);
        await call(...create, '--name', 'first', '-l', 'a=b', 'busybox', 'sleep', '1000');
        await call('start', 'first');
        await call('exec', 'first', 'ls', '/etc');
        await call('pause', 'first');
        await call('unpause', 'first');
        await call('rename', 'first', 'second');
        await call('kill', '-s', 'WINCH', 'second');
        await call('restart', '-t', '0', 'second');
        await call('stop', '-t', '0', 'second');
        await call('rm', 'second');
        await call('run', ...create.slice(1), '-d', '--name', 'third', 'busybox', 'sleep', '1000');
        await call('rm', '-f', 'third');
        await call('tag', 'busybox', 'other:1');
        await call('rmi', 'other:1');
      };
      const from = Math.floor(Date.now() / 1000) - 1;
      await life((...words) => docker.must(...words), ['create', '--network', 'none']);
      const theirs = await docker.must(
        'events',
        '--since',
        `${from}`,
        '--until',
        `${Date.now() / 1000}`,
        '--format',
        '{{json .}}',
      );
      const since = new Date().toISOString();
      await life((...words) => engine.must(...words), ['create']);
      const ours = await must('events', '--since', since, '--until', '0s', '--format', 'json');
      expect(comparable(parse(ours))).toEqual(comparable(parse(theirs)));
    } finally {
      await docker.stop();
    }
  });
});
