/** What explain says and what a run does are the same calls with the same arguments, for the default container and for what clients ask for. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TraceLine } from '../../src/workshop/trace-format.ts';
import { readTrace } from '../../src/workshop/trace-read.ts';
import { needs } from '../support/need.ts';
import { type Engine, readIfThere, scratch } from '../support/tinyctr.ts';
import { cases, type Explained, examples, explain, explainedCalls } from './explained.ts';
import { Runtime } from './oci-support.ts';

const traceLines = (file: string): TraceLine[] => readTrace(readIfThere(file)).lines;

describe('explain and a run', needs({ root: true }), () => {
  let engine: Engine;
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare('tinyctr-oci');
    engine = oci.engine;
  });

  afterAll(() => oci.end());

  test.each(Object.keys(cases))('%s', async (name) => {
    const one = cases[name]!(engine, oci);
    const { command } = one.program === 'tinyctr' ? engine : oci;
    const explained = explainedCalls(await explain(command, one));
    expect(explained.length).toBeGreaterThan(20);
    expect(explained).toEqual(await one.trace());
  });

  test('configurations that clients generated are here', needs({ file: examples }), () => {
    expect(Object.keys(cases).filter((name) => name.endsWith('.config.json'))).toHaveLength(33); // each of them is a case above
  });
  test('it makes nothing: no folder, no record, no compiled filter', async () => {
    const files = () => spawnSync('find', [engine.root, engine.runRoot]).stdout.toString();
    const before = files();
    expect((await engine.run('explain', 'run', '--seccomp-opt', 'busybox')).code).toBe(125);
    expect((await engine.run('explain', 'run', '--security-opt', 'no-new-privileges', 'busybox', 'sh')).code).toBe(0);
    const missing = await engine.run('explain', 'run', 'not-here');
    expect(missing).toMatchObject({
      code: 125,
      stdout: '',
      stderr: expect.stringContaining('explain fetches nothing'),
    });
    expect(files()).toBe(before);
  });

  test('a bundle is explained to somebody without privileges', () => {
    const bundle = oci.bundle('true');
    spawnSync('chmod', ['755', engine.folder, oci.folder, bundle]);
    const words = ['--reuid=65534', '--regid=65534', '--clear-groups', oci.command[0]!];
    const { status, stdout, stderr } = spawnSync('setpriv', [...words, 'explain', '--bundle', bundle], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('pivot_root(".", ".") = 0');
    expect(stdout).toContain('CVE-2024-21626');
  });

  test('what somebody without privileges may not look at is assumed, and named in a note', () => {
    const bundle = oci.bundle('true');
    spawnSync('chmod', ['755', engine.folder, oci.folder, bundle]);
    const rootfs = `${bundle}/rootfs`;
    const explain = (...words: string[]) => {
      const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', oci.command[0]!];
      const { status, stdout, stderr } = spawnSync('setpriv', [...nobody, 'explain', '--bundle', bundle, ...words], {
        encoding: 'utf8',
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      return stdout;
    };
    const pivots = expect.stringMatching(/pivot_root\("\.", "\."\) = 0[\s\S]*execve\("\/bin\/sh", /);
    const whole = explain();
    expect(whole).not.toContain('Note:');

    spawnSync('chmod', ['700', rootfs]);
    const closed = explain();
    expect(closed).toEqual(pivots);
    expect(closed).toContain(`Note: this user may not look at ${rootfs}/`);
    expect(closed).toContain('; that the command is /bin/sh is a guess.\n');
    expect(explain('exec', 'ls')).toMatch(/execve\("\/bin\/ls", [\s\S]*; that the command is \/bin\/ls is a guess\.\n/);
    const { notes, steps } = JSON.parse(explain('--format', 'json')) as Explained & { notes: string[] };
    expect(notes).toEqual([expect.stringContaining('may not look at')]);
    expect(steps.length).toBeGreaterThan(25);
    spawnSync('chmod', ['755', rootfs]);

    spawnSync('cp', ['-a', '--remove-destination', `${rootfs}/etc/passwd`, `${rootfs}/etc/passwd.own`]);
    spawnSync('mv', [`${rootfs}/etc/passwd.own`, `${rootfs}/etc/passwd`]); // the others are links to the image's files
    spawnSync('chmod', ['600', `${rootfs}/etc/passwd`]);
    expect(explain()).toContain(`Note: this user may not look at ${rootfs}/etc/passwd: taken as not there.\n`);

    spawnSync('mv', [rootfs, `${rootfs}.elsewhere`]);
    const gone = explain();
    expect(gone).toEqual(pivots);
    expect(gone).toContain(`Note: the root filesystem ${rootfs} is not there, or can’t be looked at`);
    const words = [...oci.command.slice(1), 'run', '--bundle', bundle, 'gone'];
    const real = spawnSync(oci.command[0]!, words, { encoding: 'utf8' });
    expect({ status: real.status, stderr: real.stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining(`the root ${rootfs}: no such file or directory`),
    });
  });

  test('what init would refuse, explain refuses in the same words', async () => {
    const options = ['busybox', 'not-there'];
    const run = await engine.run('run', '--rm', ...options);
    const explained = await engine.run('explain', 'run', '--rm', ...options);
    expect(run.stderr).toContain('executable file not found in $PATH');
    expect(explained).toMatchObject({ code: 127, stdout: '', stderr: run.stderr });
  });
});

describe('--trace', needs({ root: true }), () => {
  let engine: Engine;
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare('tinyctr-oci');
    engine = oci.engine;
  });

  afterAll(() => oci.end());

  test('both sides, with results, durations and namespaces; a table of it', async () => {
    const file = `${scratch(engine)}/trace`;
    await engine.run('run', '--rm', `--trace=${file}`, 'busybox', 'true');
    const { stdout: json } = await engine.run('trace', 'show', '--format', 'json', file);
    const lines = json
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as TraceLine);
    expect(lines).toEqual(traceLines(file));
    const birth = lines.find(({ side, name }) => side === 'host' && name === 'clone3')!;
    expect(birth.result).toBeGreaterThan(1);
    const explained = JSON.parse(
      (await engine.run('explain', '--format=json', 'run', 'busybox', 'true')).stdout,
    ) as Explained;
    const born = explained.steps.find(({ id }) => id === 'host.birth')!.calls.at(-1)!.call;
    expect(born).toContain('flags=CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUTS|');
    expect(birth.call.replace(/cgroup=\d+/, 'cgroup')).toBe(born);
    const at = (name: string) => lines.find((line) => line.side === 'stage' && line.name === name)!;
    expect(Object.keys(at('prctl').namespaces)).toEqual(['mnt', 'pid', 'uts', 'ipc', 'net']);
    expect(Object.keys(at('pivot_root').namespaces)).toEqual(['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup']);
    expect(Object.values(at('pivot_root').namespaces).every((id) => id > 4026531840)).toBe(true);
    expect(at('close').namespaces.mnt).toBe(at('prctl').namespaces.mnt);
    const { calls } = explained.steps.find(({ id }) => id === 'host.devices')!;
    expect(lines.find(({ call }) => call === calls[0]!.call)!.words).toContain(
      'allow read, write, mknod: character device 1:3 (/dev/null)',
    );
    expect(lines.every(({ ms }) => ms >= 0)).toBe(true);
    expect(new Set(lines.flatMap(({ frame }) => frame ?? [])).size).toBeLessThan(20); // calls still travel together
    const table = await engine.run('trace', 'show', file);
    expect(table.stdout).toContain('-- stage: rootfs.pivot  [mnt pid uts ipc net cgroup]\n');
    expect(table.stdout).toMatch(
      /bpf\(BPF_PROG_LOAD, .*insn_cnt=\d+}\) = \d+\n +deny read, write, mknod: any device\n +allow mknod: /,
    );
    expect(table.stdout).toMatch(/\n-- stage: protect {2}\[mnt:\d+ pid:\d+ uts:\d+ ipc:\d+ net:\d+\]\n/);
    expect(table.stdout).toMatch(/\n +[\d.]+ +pivot_root\("\.", "\."\) = 0\n/);
    expect(table.stdout).toContain(`${lines.length} calls: `);
  });

  test('without a file the table is on standard error, and the image is not taken for one', async () => {
    const { code, stdout, stderr } = await engine.run('run', '--rm', '--trace', 'busybox', 'echo', 'hi', '--trace');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'hi --trace\n' });
    expect(stderr).toContain('-- stage: exec');
  });

  test('namespaces have the numbers that the kernel shows inside, whether they are new or entered', async () => {
    const show = 'cd /proc/self/ns; for n in *; do readlink $n; done';
    const idsIn = (text: string) =>
      Object.fromEntries([...text.matchAll(/^(\w+):\[(\d+)\]$/gm)].map(([, name, id]) => [name, Number(id)]));
    const own = idsIn(spawnSync('sh', ['-c', show], { encoding: 'utf8' }).stdout);
    const notOwn = (ids: Record<string, number>) =>
      Object.fromEntries(Object.entries(ids).filter(([name, id]) => own[name] !== id && !name.includes('_')));
    const file = `${scratch(engine)}/trace`;
    for (const options of [[], ['--network', 'host'], ['--userns', 'auto']]) {
      const run = await engine.run('run', '--rm', `--trace=${file}`, ...options, 'busybox', 'sh', '-c', show);
      expect(run).toMatchObject({ code: 0, stderr: '' });
      expect(traceLines(file).findLast(({ side }) => side === 'stage')!.namespaces).toEqual(notOwn(idsIn(run.stdout)));
    }
    const bundle = oci.bundle('sleep 60');
    await oci.create(bundle, 'numbered');
    await oci.call('start', 'numbered');
    const { stdout } = await oci.call('exec', `--trace=${file}`, 'numbered', 'sh', '-c', show);
    expect(Object.keys(notOwn(idsIn(stdout)))).toContain('net');
    expect(traceLines(file).findLast(({ side }) => side === 'stage')!.namespaces).toEqual(notOwn(idsIn(stdout)));
    await oci.call('delete', '--force', 'numbered');
  });

  test('no value of the environment is in the file, nor what goes into files that are not the kernel’s', async () => {
    const file = `${scratch(engine)}/trace`;
    await engine.run('run', '--rm', `--trace=${file}`, '-e', 'PASSWORD=swordfish', 'busybox', 'true');
    const text = readIfThere(file);
    const frames = [...text.matchAll(/"calls":"([^"]*)"/g)].map(([, frame]) =>
      Buffer.from(frame!, 'base64').toString(),
    );
    expect(frames.join()).toContain('/bin/true');
    expect(`${text}${frames.join()}`).not.toMatch(/swordfish|PASSWORD/);
    expect(traceLines(file).findLast(({ name }) => name === 'execve')!.call).toMatch(/, \[\/\* \d vars \*\/\]\)$/);
  });

  test('a disk that is full ends the trace with a warning, and what is there can be shown', async () => {
    const disk = scratch(engine);
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'full', disk]);
    try {
      const words = ['run', '--rm', `--trace=${disk}/trace`, 'busybox', 'echo', 'hi'];
      const { code, stdout, stderr } = await engine.run(...words);
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'hi\n' });
      expect(stderr).toBe("tinyctr: warning: the trace ends here, it can't be written (ENOSPC)\n");
      const shown = await engine.run('trace', 'show', `${disk}/trace`);
      expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining('clone3(') });
      expect(shown.stderr).toMatch(/^(tinyctr: warning: the last record of .* is cut off: .*\n)?$/);
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  test('a container that fails is traced up to the call that failed', async () => {
    const file = `${scratch(engine)}/trace`;
    const { code } = await engine.run('run', '--rm', `--trace=${file}`, 'busybox', '/etc/passwd');
    expect(code).toBe(126);
    const stage = traceLines(file).filter(({ side }) => side === 'stage');
    expect(stage.at(-1)).toMatchObject({ step: 'command', name: 'statx' });
    await engine.run('run', '--rm', `--trace=${file}`, '--entrypoint', '/etc/passwd', '-v', '/not-here:/x', 'busybox');
    expect(traceLines(file).findLast(({ side }) => side === 'stage')).toMatchObject({
      call: 'open_tree(AT_FDCWD, "/not-here", AT_RECURSIVE|OPEN_TREE_CLOEXEC|OPEN_TREE_CLONE)',
      result: -2,
    });
  });

  test.each(['"host":"tinyctr_spawn"', '["mounts.propagation"', '["rootfs.pivot"', '["exec",1]'])(
    'kill -9 once %s is in the file loses nothing of what is there, nor half a line',
    async (needle) => {
      const file = `${scratch(engine)}/trace`;
      const child = engine.spawn('run', '--rm', `--trace=${file}`, 'busybox', 'sleep', '60');
      while (child.exitCode === null && !readIfThere(file).includes(needle))
        await new Promise((resolve) => setImmediate(resolve));
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
      const { lines, cut } = readTrace(readIfThere(file));
      expect(cut).toBe(false);
      expect(lines.find(({ call }) => call.startsWith('mkdir("/sys/fs/cgroup/'))).toBeDefined();
      const order = ['clone3', 'mount', 'pivot_root', 'execve'].map((name) =>
        lines.findIndex((line) => line.name === name),
      );
      const there = order.filter((at) => at >= 0);
      expect(there.length).toBeGreaterThan(0);
      expect(there).toEqual([...there].sort((a, b) => a - b));
      await engine.run('cleanup');
    },
  );

  test('the calls of a created container’s last frame are there, their results not', async () => {
    const bundle = oci.bundle('true');
    await oci.create(bundle, 'waiting', `--trace=${bundle}/made`);
    const last = traceLines(`${bundle}/made`)
      .filter(({ side }) => side === 'stage')
      .at(-1)!;
    expect(last).toMatchObject({ step: 'exec', name: 'execve', result: null });
    expect((await engine.run('trace', 'show', `${bundle}/made`)).stdout).toMatch(
      /\n +[\d.]+ +[\d.]+ {2}execve\(.* = \?\n/,
    );
    await oci.call('delete', '--force', 'waiting');
  });

  test('create, start and exec of tinyctr-oci', async () => {
    const bundle = oci.bundle('sleep 60');
    const [made, entered] = [`${bundle}/made`, `${bundle}/entered`];
    await oci.create(bundle, 'c', `--trace=${made}`);
    expect(traceLines(made).some(({ name }) => name === 'clone3')).toBe(true);
    await oci.call('start', 'c');
    const { stdout } = await oci.call('exec', `--trace=${entered}`, 'c', 'echo', '--trace');
    expect(stdout).toBe('--trace\n');
    expect(traceLines(entered).filter(({ step }) => step === 'namespaces.enter')).toContainEqual(
      expect.objectContaining({ name: 'setns', result: 0 }),
    );
    const { stderr } = await oci.call('exec', '--trace', 'c', 'true');
    expect(stderr).toContain('-- stage: namespaces.enter');
    await oci.call('delete', '--force', 'c');
  });

  test('exec of tinyctr; start and what the supervisor builds can’t be traced, and say so', async () => {
    await engine.must('run', '-d', '--name', 'kept', '--stop-timeout', '0', 'busybox', 'sleep', '1000');
    try {
      const file = `${scratch(engine)}/entered`;
      const run = await engine.run('exec', `--trace=${file}`, '-w', '/tmp', 'kept', 'sh', '-c', 'pwd; exit 3');
      expect(run).toMatchObject({ code: 3, stdout: '/tmp\n', stderr: '' });
      const lines = traceLines(file);
      expect(lines.some(({ side, name, result }) => side === 'host' && name === 'clone3' && result! > 1)).toBe(true);
      const stage = lines.filter(({ side }) => side === 'stage');
      expect(stage).toContainEqual(expect.objectContaining({ step: 'namespaces.enter', name: 'setns', result: 0 }));
      expect(stage.at(-1)).toMatchObject({ name: 'execve', result: 0 });
      expect(Object.keys(stage.at(-1)!.namespaces)).toEqual(['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup']);
      const told = await engine.run('exec', '--trace', 'kept', 'echo', '--trace');
      expect(told).toMatchObject({ code: 0, stdout: '--trace\n' });
      expect(told.stderr).toContain('-- stage: namespaces.enter');
      const left = `${scratch(engine)}/left`;
      expect(await engine.run('exec', '-d', `--trace=${left}`, 'kept', 'sleep', '1000')).toMatchObject({ code: 0 });
      expect(traceLines(left).findLast(({ side }) => side === 'stage')).toMatchObject({ name: 'execve', result: 0 });
      const missing = await engine.run('exec', `--trace=${file}`, 'kept', 'not-there');
      expect(missing.code).toBe(127);
      const { stderr } = await engine.run('--debug', 'exec', 'kept', 'true');
      expect(stderr).toMatch(/^namespaces\.enter +setns\(/m);
    } finally {
      await engine.must('rm', '-f', 'kept');
      await engine.quiet();
    }
    for (const word of ['--trace', '--trace=/tmp/never'])
      expect(await engine.run('start', word, 'kept')).toMatchObject({
        code: 125,
        stderr: expect.stringContaining('--trace is of run and exec: here the supervisor builds the container'),
      });
    for (const words of [['run', '-d'], ['create']]) {
      const { code, stderr } = await engine.run(...words, '--trace=/tmp/never', 'busybox', 'true');
      expect({ code, stderr }).toEqual({
        code: 125,
        stderr: expect.stringMatching(/--trace.*(not with -d|go with run)/),
      });
    }
    expect(readIfThere('/tmp/never')).toBe('');
  });

  test('a file that can’t be written is an error before anything is made', async () => {
    const { code, stderr } = await engine.run('run', '--rm', '--trace=/not/there/trace', 'busybox', 'true');
    expect(code).toBe(125);
    expect(stderr).toContain("--trace=/not/there/trace can't be written (ENOENT)");
    expect(engine.containers()).toEqual([]);
    expect((await engine.run('trace', 'show', '/not/there')).code).toBe(1);
  });
});
