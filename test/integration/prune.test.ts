/** container prune, system prune and the group `container`; update as far as this host has controllers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DOCKER_NEEDS, Docker } from '../support/dockerd.ts';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
});
afterEach(async () => {
  const ids = engine.containers();
  if (ids.length > 0) await engine.run('rm', '-f', ...ids);
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const background = (...options: string[]) =>
  must('run', '-d', '--stop-timeout', '0', ...options, 'busybox', 'sleep', '1000');

describe('prune', needs({ root: true }), () => {
  test('removes what has ended or never ran, and nothing that somebody needs', async () => {
    await must('run', '--name', 'ended', 'busybox', 'dd', 'if=/dev/zero', 'of=/file', 'bs=1000', 'count=5').catch(
      () => '',
    );
    await must('create', '--name', 'created', '-l', 'keep', 'busybox');
    await background('--name', 'running');
    await background('--name', 'paused');
    await must('pause', 'paused');
    await must('run', '-d', '--name', 'restarting', '--restart', 'always', 'busybox', 'false');
    const id = async (name: string) =>
      (await must('ps', '-aq', '--no-trunc', '--filter', `name=${name}`)).split('\n')[0]!;
    const [ended, created] = [await id('ended'), await id('created')];
    expect(await must('container', 'prune', '-f', '--filter', 'until=24h')).toBe('Total reclaimed space: 0B');
    expect(await must('container', 'prune', '-f', '--filter', 'label!=keep')).toBe(
      `Deleted Containers:\n${ended}\n\nTotal reclaimed space: 5kB`,
    );
    expect(await must('container', 'prune', '-f')).toBe(`Deleted Containers:\n${created}\n\nTotal reclaimed space: 0B`);
    expect(
      (await must('container', 'ls', '-a'))
        .split('\n')
        .slice(1)
        .map((row) => row.split(/ +/).at(-1))
        .sort(),
    ).toEqual(['paused', 'restarting', 'running']);
    expect(readdirSync(`${engine.root}/containers/.names`).sort()).toEqual(['paused', 'restarting', 'running']);
  });

  test('never takes what is just being made or started', async () => {
    let going = true;
    const prunes = (async () => {
      while (going) await must('container', 'prune', '-f');
    })();
    const runs = Array.from({ length: 12 }, () => engine.run('run', '-d', '--rm', 'busybox', 'true'));
    const inFront = Array.from({ length: 6 }, () => engine.run('run', '--rm', 'busybox', 'true'));
    for (const result of await Promise.all([...runs, ...inFront]))
      expect(result).toMatchObject({ code: 0, stderr: '' });
    going = false;
    await prunes;
  });

  test('never takes what run -d has made and the supervisor has not started yet', async () => {
    await background('--name', 'running');
    let pid = 0;
    for (const end = Date.now() + 30_000; pid === 0 && Date.now() < end; ) {
      const { supervisor } = JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number } };
      const command = `/proc/${supervisor.pid}/cmdline`;
      if (!existsSync(command) || !readFileSync(command, 'utf8').includes(engine.runRoot)) continue; // it left just now
      process.kill(supervisor.pid, 'SIGSTOP');
      pid = supervisor.pid;
    }
    expect(pid).toBeGreaterThan(1);
    const late = engine.run('run', '-d', '--name', 'late', 'busybox', 'true');
    try {
      let made = '';
      for (const end = Date.now() + 30_000; made === '' && Date.now() < end; )
        made = await must('ps', '-aq', '--filter', 'name=late');
      expect(made).not.toBe('');
      expect(await must('container', 'prune', '-f')).toBe('Total reclaimed space: 0B');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await late).toMatchObject({ code: 0, stderr: '' });
  });

  test('asks at a terminal, and is refused without one', async () => {
    await must('create', 'busybox');
    for (const group of ['container', 'system'])
      expect(await engine.run(group, 'prune')).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('-f removes without asking'),
      });
    const pty = new Pty([...engine.command, 'container', 'prune']);
    await pty.shows(/\[y\/N\]/, 30_000);
    pty.type('n\r');
    await pty.ended;
    expect(engine.containers()).toHaveLength(1);
  });

  test('system prune: containers and images; -a those with a tag too', async () => {
    await must('create', 'busybox');
    await must('tag', 'busybox', 'spare:1');
    const text = await must('system', 'prune', '-f');
    expect(text).toMatch(/^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: /);
    await must('run', '-v', 'named:/data', '-v', '/data2', 'busybox', 'true');
    expect(await must('system', 'prune', '-f', '--volumes')).toMatch(/\n\nDeleted Volumes:\n[0-9a-f]{64}\n\nTotal/);
    expect(await must('volume', 'ls', '-q')).toBe('named');
    expect(await must('system', 'prune', '-af')).toMatch(
      /^Deleted Images:\nuntagged: [\s\S]*\n\nTotal reclaimed space: \d/,
    );
    await engine.prepare();
  });

  test('the group has the verbs', async () => {
    expect(await must('container', 'run', '--rm', '-e', 'A=b', 'busybox', 'sh', '-c', 'echo $A')).toBe('b');
    const id = await must('container', 'create', 'busybox');
    expect((JSON.parse(await must('container', 'inspect', id)) as { Id: string }[])[0]!.Id).toBe(id);
    expect(await must('container', 'rm', id)).toBe(id);
    expect(await engine.run('container', 'fly')).toMatchObject({ code: 125 });
  });
});

describe('update', needs({ root: true }), () => {
  test('a policy holds from now on, and starts nobody by itself', async () => {
    const id = await background('--name', 'one');
    expect(await must('update', '--restart', 'on-failure:3', 'one')).toBe('one');
    const policy = async () =>
      (JSON.parse(await must('inspect', 'one')) as { HostConfig: { RestartPolicy: unknown } }[])[0]!.HostConfig
        .RestartPolicy;
    expect(await policy()).toEqual({ Name: 'on-failure', MaximumRetryCount: 3 });
    await must('stop', 'one');
    await must('update', '--restart', 'always', 'one');
    await until('the supervisor is gone', () => !existsSync(`${engine.runRoot}/.supervisor.sock`), 30_000);
    await must('info');
    expect(await must('ps', '-q')).toBe('');
    expect(
      await must('events', '--since', '1h', '--until', '0s', '-f', 'event=update', '-f', `container=${id}`),
    ).toMatch(/\(image=busybox, name=one\)$/);
  });

  test('what can’t be is refused, and changes nothing', async () => {
    await background('--name', 'one', '--rm');
    for (const [words, message] of [
      [['one'], 'nothing to change'],
      [['--restart', 'always', 'one'], '--rm'],
      [['--restart', 'sometimes', '--memory', '1m', 'one'], 'is no policy'],
      [['--device-read-bps', '/dev/sda:1m', 'one'], 'can’t be changed'],
      [['--restart', 'no', 'nobody'], 'no such container'],
    ] as const) {
      const { code, stderr } = await engine.run('update', ...words);
      expect(code).not.toBe(0);
      expect(stderr).toContain(message);
    }
  });
});

describe('beside docker', needs(DOCKER_NEEDS), () => {
  test('prune prints the same, update refuses the same', { timeout: 120_000 }, async () => {
    const docker = await Docker.start(`${engine.folder}/docker`);
    try {
      await must('save', '-o', `${engine.folder}/busybox.tar`, 'busybox');
      await docker.must('load', '-i', `${engine.folder}/busybox.tar`);
      const said = async (call: (...words: string[]) => Promise<{ code: number | null; stdout: string }>) => {
        const results: unknown[] = [];
        const note = async (...words: string[]) => {
          const { code, stdout } = await call(...words);
          results.push({ words, failed: code !== 0, stdout: stdout.replace(/[0-9a-f]{64}/g, 'ID') });
        };
        await call('create', '--network', 'none', '--name', 'first', 'busybox');
        await call('create', '--network', 'none', '--rm', '--name', 'second', 'busybox');
        await note('update', '--restart', 'always', 'first');
        await note('update', '--restart', 'always', 'second');
        await note('update', 'first');
        await note('update', '--restart', 'foo', 'first');
        await note('update', '--memory', '1m', 'first');
        await note('update', '--restart', 'no', 'nobody', 'first');
        await note('container', 'prune', '-f');
        await note('container', 'prune', '-f');
        return results;
      };
      expect(await said((...words) => engine.run(...words))).toEqual(await said((...words) => docker.call(...words)));
    } finally {
      await docker.stop();
    }
  });
});
