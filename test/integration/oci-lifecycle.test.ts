/** The life cycle of runtime.md, the same cases for tinyctr-oci and, where it is installed, runc. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Runtime, runtimes } from './oci-support.ts';

const sleep = 'trap "exit 9" TERM; while :; do sleep 0.05; done';

describe.each(runtimes)('%s', needs({ root: true }), (name) => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
  });

  afterAll(() => oci.end());

  test('create makes the container, start lets its program run, delete takes all away', async () => {
    const bundle = oci.bundle('echo here; echo pid $$');
    const created = await oci.create(bundle, 'life', '--pid-file', `${bundle}/pid`);
    expect({ code: created.code, output: created.output() }).toEqual({ code: 0, output: '' });
    const state = JSON.parse((await oci.call('state', 'life')).stdout);
    expect(state).toMatchObject({ id: 'life', status: 'created', bundle, rootfs: `${bundle}/rootfs` });
    expect(readFileSync(`${bundle}/pid`, 'utf8')).toBe(String(state.pid));
    expect(existsSync(`/proc/${state.pid}`)).toBe(true);

    expect(await oci.call('start', 'life')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    await oci.untilStatus('life', 'stopped');
    expect(created.output()).toBe('here\npid 1\n');
    expect(JSON.parse((await oci.call('state', 'life')).stdout).pid).toBe(0);
    expect(await oci.call('delete', 'life')).toMatchObject({ code: 0, stderr: '' });
    expect((await oci.call('state', 'life')).stderr).toContain('container does not exist');
    expect(existsSync(`${oci.root}/life`)).toBe(false);
  });

  test('what becomes of config.json after create has no effect', async () => {
    const bundle = oci.bundle('echo as it was');
    const created = await oci.create(bundle, 'frozen');
    expect(created.code).toBe(0);
    writeFileSync(`${bundle}/config.json`, '{}');
    expect(await oci.call('start', 'frozen')).toMatchObject({ code: 0, stderr: '' });
    await oci.untilStatus('frozen', 'stopped');
    expect(created.output()).toBe('as it was\n');
    rmSync(`${bundle}/config.json`);
    expect(await oci.call('delete', 'frozen')).toMatchObject({ code: 0, stderr: '' });
  });

  test.each(['run', 'create'] as const)('%s: a pid file that can’t be written ends the container', async (verb) => {
    const bundle = oci.bundle('exec sleep 77', (spec) => {
      spec.hooks = { poststop: [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${oci.folder}/${verb}-poststop`] }] };
    });
    const { code, ...made } =
      verb === 'run'
        ? await oci.run(bundle, 'pidless', '--pid-file', '/not/there/pid')
        : await oci.create(bundle, 'pidless', '--pid-file', '/not/there/pid');
    expect(code).toBe(1);
    expect('stderr' in made ? made.stderr : made.output()).toContain('/not/there');
    expect(await oci.status('pidless')).toContain('container does not exist');
    expect(existsSync(`${cgroupRoot()}${oci.cgroup('pidless')}`)).toBe(false);
    expect(JSON.parse(readFileSync(`${oci.folder}/${verb}-poststop`, 'utf8'))).toMatchObject({ id: 'pidless' });
  });

  test('what does not exist is refused, but delete --force is content', async () => {
    for (const words of [
      ['state', 'nobody'],
      ['start', 'nobody'],
      ['kill', 'nobody'],
      ['delete', 'nobody'],
    ]) {
      const { code, stderr } = await oci.call(...words);
      expect([words[0], code]).toEqual([words[0], 1]);
      expect(stderr).toContain('container does not exist');
    }
    expect(await oci.call('delete', '--force', 'nobody')).toMatchObject({ code: 0, stderr: '' });
  });

  test('each operation refuses the states that it is not for', async () => {
    const bundle = oci.bundle(sleep);
    await oci.create(bundle, 'states');
    const again = await oci.create(bundle, 'states');
    expect(again.code).toBe(1);
    expect(again.output()).toContain('container with given ID already exists');

    expect(await oci.call('start', 'states')).toMatchObject({ code: 0 });
    expect(await oci.status('states')).toBe('running');
    const second = await oci.call('start', 'states');
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('cannot start an already running container');
    const early = await oci.call('delete', 'states');
    expect(early.code).toBe(1);
    expect(early.stderr).toContain('cannot delete container states that is not stopped: running');
    expect(await oci.status('states')).toBe('running');

    expect(await oci.call('kill', 'states')).toMatchObject({ code: 0 });
    await oci.untilStatus('states', 'stopped');
    const late = await oci.call('kill', 'states', 'KILL');
    expect(late.code).toBe(1);
    expect(late.stderr).toContain('container not running');
    const third = await oci.call('start', 'states');
    expect(third.code).toBe(1);
    expect(third.stderr).toContain('cannot start a container that has stopped');
    expect(await oci.call('delete', 'states')).toMatchObject({ code: 0 });
  });

  test('delete --force ends a running, a created and a paused container', async () => {
    const bundle = oci.bundle(sleep);
    for (const id of ['running', 'created', 'paused']) await oci.create(bundle, id);
    for (const id of ['running', 'paused']) await oci.call('start', id);
    await oci.call('pause', 'paused');
    for (const id of ['running', 'created', 'paused']) {
      expect(await oci.status(id)).toBe(id);
      const { pid } = JSON.parse((await oci.call('state', id)).stdout);
      expect(await oci.call('delete', '--force', id)).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(`/proc/${pid}/exe`)).toBe(false);
      expect(await oci.status(id)).toContain('container does not exist');
    }
  });

  test('pause stops it, resume lets it go on, in the states they are for', async () => {
    const bundle = oci.bundle('while :; do echo x; sleep 0.02; done');
    const { output } = await oci.create(bundle, 'ice');
    await oci.call('start', 'ice');
    expect((await oci.call('resume', 'ice')).code).toBe(1);
    expect(await oci.call('pause', 'ice')).toMatchObject({ code: 0 });
    const before = output();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(output()).toBe(before);
    expect(await oci.call('resume', 'ice')).toMatchObject({ code: 0 });
    for (const end = Date.now() + 5000; output() === before && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(output().length).toBeGreaterThan(before.length);
    await oci.call('delete', '--force', 'ice');
  });

  test('kill takes names and numbers, and --all reaches every process', async () => {
    const bundle = oci.bundle(
      'trap "echo got $$" USR1; (trap "echo child" USR1; while :; do sleep 0.02; done) & while :; do sleep 0.02; done',
    );
    const { output } = await oci.create(bundle, 'kill');
    await oci.call('start', 'kill');
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const [signal, times] of [
      ['USR1', 1],
      ['SIGUSR1', 2],
      ['10', 3],
    ] as const) {
      expect(await oci.call('kill', 'kill', signal)).toMatchObject({ code: 0 });
      await untilMatches(output, /got 1/g, times);
    }
    expect(output()).not.toContain('child');
    expect((await oci.call('kill', 'kill', 'NONSENSE')).code).toBe(1);
    expect(JSON.parse((await oci.call('ps', '--format', 'json', 'kill')).stdout).length).toBeGreaterThan(1);
    expect(await oci.call('kill', '--all', 'kill', 'KILL')).toMatchObject({ code: 0 });
    await oci.untilStatus('kill', 'stopped');
    await oci.call('delete', 'kill');
  });

  test('list shows ids, a table and JSON', async () => {
    const bundle = oci.bundle(sleep);
    await oci.create(bundle, 'listed');
    expect((await oci.call('list', '-q')).stdout.split('\n')).toContain('listed');
    const { stdout } = await oci.call('list');
    expect(stdout).toMatch(/^ID +PID +STATUS +BUNDLE +CREATED +OWNER\n/);
    expect(stdout).toMatch(/^listed +\d+ +created +\//m);
    const all = JSON.parse((await oci.call('list', '--format', 'json')).stdout);
    expect(all).toContainEqual(expect.objectContaining({ id: 'listed', status: 'created', bundle, owner: 'root' }));
    await oci.call('delete', '--force', 'listed');
    expect((await oci.call('list', '--format=yaml')).code).toBe(1);
  });

  test.each(['a/b', '..', 'ü', 'a b', '/'])('the id %j is refused', async (id) => {
    const { code, stderr } = await oci.run(oci.bundle('true'), id);
    expect(code).toBe(1);
    expect(stderr).toContain('invalid container ID format');
  });

  test.each(['a', 'A_b+c-d.e', '0', 'f'.repeat(64)])('the id %j is fine', async (id) => {
    expect(await oci.run(oci.bundle('echo ok'), id)).toMatchObject({ code: 0, stdout: 'ok\n' });
  });
});

async function untilMatches(output: () => string, pattern: RegExp, times: number): Promise<void> {
  for (const end = Date.now() + 5000; (output().match(pattern) ?? []).length < times; ) {
    if (Date.now() > end) throw new Error(`not ${times} times ${pattern} in ${JSON.stringify(output())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
