/** A state file that is damaged: that container is shown as damaged, with what is wrong; it can be removed; all others work. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { cgroups, Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '3000';
  engine = await new Engine().prepare();
});
afterEach(async () => {
  if (engine.containers().length > 0) await engine.run('rm', '-f', ...engine.containers());
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const inspect = async (name: string) =>
  (JSON.parse(await must('inspect', name)) as { Id: string; State: Record<string, unknown> }[])[0]!;
const record = (id: string) => `${engine.root}/containers/${id}/container.json`;
const config = (id: string) => `${engine.root}/containers/${id}/config.json`;
const state = (id: string) => `${engine.runRoot}/${id}/state.json`;

const damages: Record<string, (text: string) => string> = {
  empty: () => '',
  'cut in the middle': (text) => text.slice(0, text.length / 2),
  binary: () => '\x7fELF\x00\x01\x02',
  'another type': () => '[1, 2]',
  null: () => 'null',
  'without its fields': () => '{}',
};

function damage(file: string, how: (text: string) => string): void {
  writeFileSync(file, how(readFileSync(file, 'utf8')), 'latin1');
}

async function killSupervisor(): Promise<void> {
  const { supervisor } = JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number } };
  expect(readFileSync(`/proc/${supervisor.pid}/cmdline`, 'utf8')).toContain(
    `tinyctr-supervisor.cjs\0${engine.runRoot}`,
  );
  process.kill(supervisor.pid, 'SIGKILL');
  await until('the supervisor is dead', () => !existsSync(`/proc/${supervisor.pid}`), 30_000);
}

describe('a container whose files are damaged', needs({ root: true }), () => {
  test('each of its files is told, all can be removed, and the others work', { timeout: 60_000 }, async () => {
    const how = damages['cut in the middle']!;
    const other = await must('run', '-d', '--name', 'other', 'busybox', 'sh', '-c', 'echo hello; exec sleep 1000');
    const ended = await must('create', '--name', 'ended', 'busybox', 'true');
    const configured = await must('create', '--name', 'configured', 'busybox', 'true');
    const running = await must('run', '-d', '--name', 'running', 'busybox', 'sleep', '1000');
    damage(record(ended), how);
    damage(config(configured), how);
    damage(state(running), how);

    const listed = await must('ps', '-a', '--no-trunc');
    for (const [name, file] of [
      ['ended', 'container.json'],
      ['configured', 'config.json'],
      ['running', 'state.json'],
    ] as const) {
      expect(listed).toMatch(new RegExp(`Damaged: ${file}[^\\n]* ${name}\\n?`));
      const { State } = await inspect(name);
      expect(State).toMatchObject({ Status: 'damaged', Error: expect.stringContaining(file) });
    }
    expect((await inspect('running')).State).toMatchObject({ Running: true, Pid: expect.any(Number) });
    expect(await must('ps', '-a', '-q', '--no-trunc', '--filter', 'status=damaged')).toBe(
      [running, configured, ended].join('\n'),
    );
    for (const name of ['ended', 'configured'])
      expect(await engine.run('start', name)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/is damaged: .*json/),
      });

    // The others, and what of the damaged one still can be done, by a supervisor that knows nothing of before.
    await killSupervisor();
    expect(await must('logs', 'other')).toBe('hello');
    expect(await must('exec', 'other', 'echo', 'works')).toBe('works');
    expect(await must('exec', 'running', 'echo', 'works')).toBe('works');
    expect(await engine.run('run', '--rm', 'busybox', 'echo', 'new')).toMatchObject({ code: 0, stdout: 'new\n' });
    expect(await must('stop', '-t', '0', 'other')).toBe('other');
    expect(await must('start', 'other')).toBe('other');
    expect(await must('stop', '-t', '0', 'running')).toBe('running');
    expect(engine.states()).toEqual([other]);
    expect(await must('ps', '-a', '--filter', 'name=running')).toContain('Exited (137)');

    expect(await must('rm', '-f', 'ended', 'configured', 'running')).toBe('ended\nconfigured\nrunning');
    expect(engine.containers()).toEqual([other]);
    expect(cgroups()).not.toContain(running);
    expect(await must('ps', '-a', '--format', 'json')).not.toContain('damaged');
  });

  test('whatever the damage is, it is told, and removed', async () => {
    const hows = Object.values(damages);
    const ids = await Promise.all(hows.map(() => must('create', 'busybox', 'true')));
    for (const file of [record, config]) {
      const before = ids.map((id) => readFileSync(file(id)));
      for (const [i, id] of ids.entries()) damage(file(id), hows[i]!);
      const shown = (await must('ps', '-a', '--format', 'json')).split('\n').map((line) => JSON.parse(line));
      expect(shown.map(({ State }) => State)).toEqual(hows.map(() => 'damaged'));
      for (const { Status } of shown) expect(Status).toMatch(/^Damaged: (container|config)\.json/);
      if (file === record) for (const [i, id] of ids.entries()) writeFileSync(file(id), before[i]!);
    }
    expect(await must('rm', ...ids)).toBe(ids.join('\n'));
    expect(engine.containers()).toEqual([]);
  });

  test('rm alone removes one that does not run, and refuses one that does', async () => {
    const id = await must('run', '-d', 'busybox', 'sleep', '1000');
    damage(record(id), () => '');
    expect(await engine.run('rm', id)).toMatchObject({ code: 1, stderr: expect.stringContaining('is damaged') });
    expect(await must('stop', '-t', '0', id)).toBe(id);
    expect(await must('rm', id)).toBe(id);
    expect(engine.containers()).toEqual([]);
  });

  test('one that runs on with a damaged record and config ends like any other, and with --restart none follows', async () => {
    const id = await must('run', '-d', '--restart', 'always', 'busybox', 'sleep', '1000');
    damage(record(id), () => '{');
    damage(config(id), () => '{');
    await killSupervisor();
    const { State } = await inspect(id);
    const pid = State.Pid as number;
    expect(pid).toBeGreaterThan(1);
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(id);
    process.kill(pid, 'SIGKILL');
    await until('its end is seen', () => engine.states().length === 0, 30_000);
    expect(cgroups()).not.toContain(id);
    expect((await inspect(id)).State).toMatchObject({ Status: 'damaged', Running: false, Pid: 0 });
  });

  test('restart policies of the others go on', async () => {
    const damaged = await must('create', '--restart', 'always', 'busybox', 'true');
    const id = await must('run', '-d', '--restart', 'always', 'busybox', 'sh', '-c', 'echo run; exec sleep 1000');
    damage(record(damaged), () => 'x');
    await killSupervisor();
    const first = (await inspect(id)).State.Pid as number;
    expect(readFileSync(`/proc/${first}/cgroup`, 'utf8')).toContain(id);
    process.kill(first, 'SIGKILL');
    const runs = () => readFileSync(`${engine.root}/containers/${id}/container.log`, 'utf8').split('run').length - 1;
    await until('it is back', () => runs() === 2, 30_000);
  });

  test('a state that names a cgroup of others is damaged: nobody in it is killed', async () => {
    const id = await must('run', '-d', 'busybox', 'sleep', '1000');
    for (const cgroup of ['', '/', '/tinyctr', `/tinyctr/../${id}`]) {
      damage(state(id), (text) => JSON.stringify({ ...JSON.parse(text), cgroup }));
      expect((await inspect(id)).State).toMatchObject({
        Status: 'damaged',
        Error: expect.stringContaining('which is not the container'),
      });
    }
    expect(await must('rm', '-f', id)).toBe(id);
    expect(cgroups()).not.toContain(id);
  });
});
