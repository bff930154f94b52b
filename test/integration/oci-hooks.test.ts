/** Hooks: when and where each of the six runs and what it is told, and what happens when one fails. */
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Hook, HookName, Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { readIfThere, until } from '../support/tinyctr.ts';
import { differs, Runtime, runtime, runtimes } from './oci-support.ts';

const all: HookName[] = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'];
const sleep = 'trap "exit 0" TERM; while :; do sleep 0.05; done';

/** One line a hook, in a folder that host and container see under one name: its name, what it is told and where it is. */
const noting = (file: string) =>
  `echo "{\\"name\\":\\"$0\\",\\"state\\":$(cat),\\"net\\":\\"$(readlink /proc/self/ns/net)\\",\\"mnt\\":\\"$(readlink /proc/self/ns/mnt)\\",\\"pwd\\":\\"$(pwd)\\",\\"x\\":\\"$X\\"}" >> ${file}`;

interface Note {
  name: string;
  state: Record<string, unknown>;
  net: string;
  mnt: string;
  pwd: string;
  x: string;
}

describe.each(runtimes)('%s', needs({ root: true }), (name) => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
  });

  afterAll(() => oci.end());

  /** A bundle with these hooks; `/notes` in the container is the same folder as on the host. */
  function bundle(hooks: (notes: string) => Spec['hooks'], script = 'true'): { path: string; notes: string } {
    let notes = '';
    const path = oci.bundle(script, (spec) => {
      notes = `${oci.engine.folder}/notes-${Math.random().toString(36).slice(2)}`;
      mkdirSync(notes);
      spec.root!.readonly = false; // the destination is made in it
      spec.mounts!.push({ destination: notes, type: 'bind', source: notes, options: ['bind'] });
      spec.annotations = { colour: 'green' };
      spec.hooks = hooks(notes)!;
    });
    return { path, notes };
  }
  const sh = (script: string, more: Partial<Hook> = {}): Hook => ({
    path: '/bin/sh',
    args: ['sh', '-c', script],
    ...more,
  });
  const note = (hook: HookName, notes: string): Hook[] => [
    { path: '/bin/sh', args: ['sh', '-c', noting(`${notes}/log`), hook], env: ['X=y', 'PATH=/usr/bin:/bin'] },
  ];
  const read = (notes: string): Note[] =>
    readIfThere(`${notes}/log`)
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Note);

  test('each runs where and when it should, and is told the state', async () => {
    const { path, notes } = bundle(
      (folder) => Object.fromEntries(all.map((hook) => [hook, note(hook, folder)])),
      sleep,
    );
    const { code } = await oci.create(path, 'six');
    expect(code).toBe(0);
    const { pid } = JSON.parse((await oci.call('state', 'six')).stdout) as { pid: number };
    const net = readlinkSync(`/proc/${pid}/ns/net`);
    const mnt = readlinkSync(`/proc/${pid}/ns/mnt`);
    expect(await oci.call('start', 'six')).toMatchObject({ code: 0, stderr: '' });
    await oci.call('kill', 'six', 'TERM');
    await oci.untilStatus('six', 'stopped');
    await oci.call('delete', 'six');

    const found = read(notes);
    const of = (hook: HookName) => found.find((one) => one.name === hook)!;
    expect(found.map((one) => one.name).sort()).toEqual([...all].sort());
    const inOrder = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststop'];
    expect(found.map((one) => one.name).filter((one) => one !== 'poststart')).toEqual(inOrder);
    for (const one of found) {
      expect(one.x).toBe('y');
      expect(one.state).toMatchObject({ id: 'six', bundle: path, annotations: { colour: 'green' } });
    }
    for (const hook of ['prestart', 'createRuntime'] as const) {
      expect(of(hook)).toMatchObject({ pwd: path, state: { status: 'creating', pid } });
      expect([of(hook).net, of(hook).mnt]).not.toContain(net);
      expect([of(hook).net, of(hook).mnt]).not.toContain(mnt);
    }
    expect(of('createContainer')).toMatchObject({
      net,
      mnt,
      pwd: `${path}/rootfs`,
      state: { status: 'creating', pid: 1 },
    });
    expect(of('startContainer')).toMatchObject({ net, mnt, pwd: '/', state: { status: 'created', pid: 1 } });
    expect(of('poststart').net).toBe(readlinkSync('/proc/self/ns/net'));
    expect(of('poststart').state).toMatchObject({ pid });
    expect(of('poststop').state).toMatchObject({ status: 'stopped' });
    expect(of('poststop').state.pid ?? 0).toBe(0);
  });

  test('a hook of the host sees the mounts of the container through its pid, and what it changes is there', async () => {
    const { path } = bundle(
      () => ({
        createRuntime: [
          sh('pid=$(sed "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/"); nsenter -t $pid -n ip link add here type bridge'),
        ],
      }),
      'cat /proc/net/dev',
    );
    expect((await oci.run(path, 'network')).stdout).toContain('here:');
  });

  test('hooks run once each in a foreground run as well', async () => {
    const { path, notes } = bundle((folder) => Object.fromEntries(all.map((hook) => [hook, note(hook, folder)])));
    expect(await oci.run(path, 'foreground')).toMatchObject({ code: 0, stderr: '' });
    expect(
      read(notes)
        .map((one) => one.name)
        .sort(),
    ).toEqual([...all].sort());
  });

  test.each(['prestart', 'createRuntime', 'createContainer'] as const)(
    'a failing %s hook is an error of create: the later ones are not run, poststop is, nothing is left',
    async (hook) => {
      const { path, notes } = bundle((folder) => ({
        [hook]: [sh('echo why >&2; exit 3'), ...note(hook, folder)],
        poststop: note('poststop', folder),
      }));
      const { code, output } = await oci.create(path, 'fails');
      expect(code).toBe(1);
      expect(output()).toMatch(/hook #0.*exit status 3.*why/);
      expect(read(notes).map((one) => one.name)).toEqual(['poststop']);
      expect(await oci.status('fails')).toContain('container does not exist');
    },
  );

  test('a failing startContainer hook is an error of start, and the program never runs', async () => {
    const { path } = bundle(() => ({ startContainer: [sh('exit 3')] }), 'echo ran');
    const { code, output } = await oci.create(path, 'unstarted');
    expect(code).toBe(0);
    const started = await oci.call('start', 'unstarted');
    await oci.untilStatus('unstarted', 'stopped');
    if (!differs(name, 'start-reports-exec').fails)
      expect(started).toMatchObject({ code: 1, stderr: expect.stringContaining('exit status 3') });
    expect(output()).not.toContain('ran');
    await oci.call('delete', '--force', 'unstarted');
  });

  test('a failing poststart hook ends the container', async () => {
    const { path } = bundle(() => ({ poststart: [sh('exit 3')] }), sleep);
    const { code, stderr } = await oci.run(path, 'late');
    expect(code).toBe(1);
    expect(stderr).toMatch(/poststart hook|hook #0/);
    expect(await oci.status('late')).toContain('container does not exist');
  });

  test('a failing poststop hook is a warning', async () => {
    const { path, notes } = bundle((folder) => ({ poststop: [sh('exit 3'), ...note('poststop', folder)] }));
    const { code, stderr } = await oci.run(path, 'stops');
    expect(code).toBe(0);
    const stopsThere = differs(name, 'poststop-all').fails;
    expect(stderr).toMatch(stopsThere ? /exit status 3/ : /warning: .*exit status 3/);
    expect(read(notes)).toHaveLength(stopsThere ? 0 : 1);
  });

  test('a hook beyond its timeout is killed', async () => {
    const { path } = bundle(() => ({ createRuntime: [sh('exec sleep 30', { timeout: 1 })] }));
    const before = Date.now();
    const { code, output } = await oci.create(path, 'slow');
    expect(code).toBe(1);
    expect(Date.now() - before).toBeLessThan(20_000);
    expect(output()).toMatch(/timeout|killed/);
  });
});

describe(`${runtime}`, needs({ root: true }), () => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
  });

  afterAll(() => oci.end());

  const withHooks = (hooks: Spec['hooks'], script = 'true', change: (spec: Spec) => void = () => undefined) =>
    oci.bundle(script, (spec) => {
      spec.hooks = hooks!;
      change(spec);
    });

  test(
    'poststart runs as part of start, not of create, with status running',
    differs(runtime, 'poststart-in-start'),
    async () => {
      const file = `${oci.engine.folder}/poststart`;
      const hook = { path: '/bin/sh', args: ['sh', '-c', `cat > ${file}`] };
      const path = withHooks({ poststart: [hook] }, sleep);
      await oci.create(path, 'post');
      expect(existsSync(file)).toBe(false);
      await oci.call('start', 'post');
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ id: 'post', status: 'running' });
      await oci.call('delete', '--force', 'post');
    },
  );

  test('the timeout kills all that the hook has started', differs(runtime, 'hook-timeout-group'), async () => {
    const file = `${oci.engine.folder}/pid`;
    const hook = { path: '/bin/sh', args: ['sh', '-c', `sleep 12 & echo $! > ${file}; wait`], timeout: 1 };
    const before = Date.now();
    const { code } = await oci.create(withHooks({ prestart: [hook] }), 'group');
    expect(Date.now() - before).toBeLessThan(9000);
    expect(code).toBe(1);
    const pid = Number(readFileSync(file, 'utf8'));
    expect(pid).toBeGreaterThan(1);
    await until('the end of the hook’s child', () => !/^State:\s+[^Z]/m.test(readIfThere(`/proc/${pid}/status`)));
  });

  test('a daemon that a hook leaves behind keeps nobody waiting', differs(runtime, 'hook-daemon'), async () => {
    const hook = { path: '/bin/sh', args: ['sh', '-c', 'sleep 3 &'] };
    const before = Date.now();
    expect(await oci.run(withHooks({ createRuntime: [hook] }), 'daemon')).toMatchObject({ code: 0 });
    expect(Date.now() - before).toBeLessThan(2900);
  });

  test('what a hook writes, however much, blocks nobody', async () => {
    const hook = { path: '/bin/sh', args: ['sh', '-c', 'head -c 5000000 /dev/zero'] };
    expect(await oci.run(withHooks({ createRuntime: [hook], createContainer: [hook] }), 'much')).toMatchObject({
      code: 0,
    });
  });

  test('startContainer runs as the container’s user, with its capabilities and filter and limits', async () => {
    const script =
      'id -u > /tmp/note; grep -E "CapEff|CapBnd|Seccomp:|NoNewPrivs" /proc/self/status >> /tmp/note; ulimit -n >> /tmp/note; echo $ONE >> /tmp/note';
    const hook = { path: '/bin/sh', args: ['sh', '-c', script] };
    const path = withHooks({ startContainer: [hook] }, 'cat /tmp/note', (spec) => {
      spec.process!.user = { uid: 1000, gid: 1000 };
      spec.process!.env!.push('ONE=two');
      spec.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 99, hard: 99 }];
      spec.process!.capabilities = { bounding: ['CAP_KILL'], effective: [], permitted: [] };
      spec.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['reboot'], action: 'SCMP_ACT_ERRNO' }],
      };
      spec.mounts!.push({ destination: '/tmp', type: 'tmpfs', options: ['mode=1777'] });
    });
    const wanted = '1000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\nSeccomp:\t2\n99\ntwo\n';
    expect(await oci.run(path, 'as-user')).toMatchObject({ code: 0, stderr: '', stdout: wanted });
    const created = await oci.create(path, 'as-user2');
    expect(created.code).toBe(0);
    expect(await oci.call('start', 'as-user2')).toMatchObject({ code: 0, stderr: '' });
    await oci.untilStatus('as-user2', 'stopped');
    expect(created.output()).toBe(wanted);
    await oci.call('delete', 'as-user2');
  });

  test('a hook without env has the caller’s', async () => {
    const file = `${oci.engine.folder}/env`;
    const hook = { path: '/bin/sh', args: ['sh', '-c', `echo "$HOME|$NODE_EXTRA_CA_CERTS" > ${file}`] };
    const path = withHooks({ createRuntime: [hook] });
    const env = { ...process.env, HOME: '/some/where', NODE_EXTRA_CA_CERTS: '/certs' };
    const { runProgram } = await import('../support/tinyctr.ts');
    await runProgram(oci.command[0]!, [...oci.command.slice(1), 'run', '--bundle', path, 'env'], { env });
    expect(readFileSync(file, 'utf8')).toBe('/some/where|/certs\n');
  });

  test('a hook that is not there is named', differs(runtime, 'error-texts'), async () => {
    const path = withHooks({ createRuntime: [{ path: '/not/there' }] });
    expect((await oci.run(path, 'missing')).stderr).toContain(
      'error running createRuntime hook #0: /not/there: no such file or directory',
    );
  });

  test('what is wrong with a hook is told with its pointer', differs(runtime, 'validation-first'), async () => {
    const path = oci.bundle('true');
    const config = JSON.parse(readFileSync(`${path}/config.json`, 'utf8')) as Record<string, unknown>;
    config.hooks = { prestart: [{ path: 'relative', timeout: 0, env: ['none'] }], poststart: [{}] };
    writeFileSync(`${path}/config.json`, JSON.stringify(config));
    const { stderr } = await oci.run(path, 'wrong');
    for (const pointer of ['prestart/0/path', 'prestart/0/timeout', 'prestart/0/env/0', 'poststart/0/path'])
      expect(stderr).toContain(`/hooks/${pointer}`);
  });

  test(
    'a runtime killed while a hook runs leaves nothing but its state, which delete --force removes',
    differs(runtime, 'creating-state'),
    async () => {
      const file = `${oci.engine.folder}/killed`;
      const hook = {
        path: '/bin/sh',
        args: ['sh', '-c', `cat > ${file}.new; echo $$ >> ${file}.new; mv ${file}.new ${file}; sleep 60`],
      };
      const path = withHooks({
        createRuntime: [hook],
        poststop: [{ path: '/bin/sh', args: ['sh', '-c', `echo > ${file}.stop`] }],
      });
      const { spawn } = await import('node:child_process');
      const child = spawn(oci.command[0]!, [...oci.command.slice(1), 'create', '--bundle', path, 'killed'], {
        stdio: 'ignore',
      });
      await until('the hook', () => existsSync(file), 20_000);
      const text = readFileSync(file, 'utf8');
      const pids = [Number(text.trim().split('}').at(-1)), Number(/"pid":(\d+)/.exec(text)![1])];
      expect(await oci.status('killed')).toBe('creating');
      child.kill('SIGKILL');
      for (const pid of pids) {
        expect(pid).toBeGreaterThan(1);
        await until(`the end of ${pid}`, () => !/^State:\s+[^Z]/m.test(readIfThere(`/proc/${pid}/status`)));
      }
      expect(await oci.status('killed')).toBe('stopped');
      expect(await oci.call('delete', '--force', 'killed')).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(`${file}.stop`)).toBe(true);
      expect(existsSync(`${oci.root}/killed`)).toBe(false);
    },
  );
});
