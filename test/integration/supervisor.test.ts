/** Containers that live on: run -d and what people do next, the supervisor that comes and goes, and what outlives it. */
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { cgroups, Engine, mountsBelow, runProgram, until } from '../support/tinyctr.ts';

let engine: Engine;
const ids: string[] = [];
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
});
afterEach(async () => {
  if (ids.length > 0) await engine.run('rm', '-f', ...ids.splice(0).filter((id) => engine.containers().includes(id)));
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);

/** `run -d … busybox sh -c SCRIPT`; returns the id. */
async function detached(script: string, ...options: string[]): Promise<string> {
  const id = await must('run', '-d', ...options, 'busybox', 'sh', '-c', script);
  expect(id).toMatch(/^[0-9a-f]{64}$/);
  ids.push(id);
  return id;
}

const wait = async (id: string): Promise<number> => Number(await must('wait', id));
const pids = async () =>
  (JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number; keeperPid: number } }).supervisor;

/** The supervisor of this engine's own run root: its pid is checked before it is killed. */
async function killSupervisor(): Promise<number> {
  const { pid } = await pids();
  expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain(`tinyctr-supervisor.cjs\0${engine.runRoot}`);
  process.kill(pid, 'SIGKILL');
  await until('the supervisor is dead', () => !existsSync(`/proc/${pid}`));
  return pid;
}

const whenAsked = 'trap "echo asked; exit 5" TERM; echo ready; while :; do sleep 0.05; done';

describe('run -d', needs({ root: true }), () => {
  test('prints the id at once; wait tells the exit status, logs what it wrote, ps how it ended', async () => {
    const id = await detached('echo out; echo err >&2; sleep 0.3; exit 7', '--name', 'first');
    expect(await must('ps', '-q')).toBe(id.slice(0, 12));
    expect(await wait('first')).toBe(7);
    expect(await engine.run('logs', 'first')).toMatchObject({ code: 0, stdout: 'out\n', stderr: 'err\n' });
    expect(await must('ps', '-a')).toMatch(/Exited \(7\) .* ago +first$/);
  });

  test('its users can read what is theirs', async () => {
    const id = await detached('umask; cat /etc/hostname', '-u', 'nobody');
    await wait(id);
    expect(await must('logs', id)).toBe(`0022\n${id.slice(0, 12)}`);
  });

  test('--rm: nothing is left of it', async () => {
    const id = await must('run', '-d', '--rm', 'busybox', 'true');
    await until('it is gone', () => !engine.containers().includes(id));
    await until('its state too', () => engine.states().length === 0);
    expect(cgroups()).not.toContain(id);
  });

  test('what keeps it from running is said, and no container is left with --rm', async () => {
    const { code, stderr } = await engine.run('run', '-d', '--rm', 'busybox', 'nope');
    expect(code).toBe(127);
    expect(stderr).toContain('exec: "nope": executable file not found in $PATH');
    expect(engine.containers()).toEqual([]);
    expect(engine.states()).toEqual([]);
  });

  test('create, start, start again: what it wrote to its files is still there', async () => {
    const id = await must('create', '--name', 'again', 'busybox', 'sh', '-c', 'echo x >> /count; wc -l < /count');
    ids.push(id);
    for (const count of [1, 2]) {
      expect(await must('start', 'again')).toBe('again');
      expect(await wait(id)).toBe(0);
      expect(await must('logs', '--tail', '1', id)).toBe(`${count}`);
    }
  });

  test('fifty at once', { timeout: 60_000 }, async () => {
    const mounts = mountsBelow(engine.folder);
    const made = await Promise.all(
      Array.from({ length: 50 }, (_, i) => engine.run('run', '-d', '--rm', 'busybox', 'sh', '-c', `exit ${i}`)),
    );
    expect(made.filter(({ code }) => code !== 0)).toEqual([]);
    await until('all have ended', () => engine.containers().length === 0 && engine.states().length === 0, 20_000);
    const left = new Set(cgroups());
    expect(made.filter(({ stdout }) => left.has(stdout.trim()))).toEqual([]);
    expect(mountsBelow(engine.folder)).toEqual(mounts);
  });
});

describe('the end', needs({ root: true }), () => {
  test('stop asks by SIGTERM, and its own exit status stays', async () => {
    const id = await detached(whenAsked);
    await until('it is ready', () =>
      readFileSync(`${engine.root}/containers/${id}/container.log`, 'utf8').includes('ready'),
    );
    expect(await must('stop', id)).toBe(id);
    expect(await wait(id)).toBe(5);
    expect(await must('logs', id)).toBe('ready\nasked');
  });

  test('one that does not hear is killed after the timeout, and stop says why', async () => {
    const id = await detached('exec sleep 100', '--stop-timeout', '1');
    const { code, stderr } = await engine.run('stop', id);
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/within 1 s.*\n.*no handler for/),
    });
    expect(await wait(id)).toBe(137);
    expect(cgroups()).not.toContain(id);
  });

  test('rm -f of one that runs; rm alone refuses', async () => {
    const id = await detached('exec sleep 100');
    expect(await engine.run('rm', id)).toMatchObject({ code: 1, stderr: expect.stringContaining('is running') });
    expect(await must('rm', '-f', id)).toBe(id);
    expect(engine.containers()).not.toContain(id);
    expect(cgroups()).not.toContain(id);
  });

  test.each([
    ['on-failure:2', 'echo once; exit 3', 3],
    ['no', 'echo once; exit 3', 1],
    ['on-failure:2', 'echo once; exit 0', 1],
  ])('--restart=%s of %j: it ran %i times', async (policy, script, times) => {
    const id = await detached(script, '--restart', policy);
    const count = () => readFileSync(`${engine.root}/containers/${id}/container.log`, 'utf8').split('once').length - 1;
    await until('it ran as often as that', () => count() === times, 45_000);
    await new Promise((resolve) => setTimeout(resolve, 500)); // and not more often
    expect(count()).toBe(times);
  });

  test('always: it comes back after kill -9 of the first process, but not after stop', async () => {
    const id = await detached('echo run; exec sleep 100', '--restart', 'always');
    const state = () => JSON.parse(readFileSync(`${engine.runRoot}/${id}/state.json`, 'utf8')) as { pid: number };
    const { pid } = state();
    expect(pid).toBeGreaterThan(1);
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(id);
    process.kill(pid, 'SIGKILL');
    await until('it is back', () => engine.states().includes(id) && ![0, pid].includes(state().pid));
    await engine.run('stop', '-t', '0', id);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(engine.states()).toEqual([]);
  });
});

describe('kill -9 of the supervisor', needs({ root: true }), () => {
  test('no container ends, and the next command brings it back', async () => {
    const id = await detached(whenAsked);
    const old = await killSupervisor();
    expect(await must('ps', '-q')).toBe(id.slice(0, 12));
    expect((await pids()).pid).not.toBe(old);
    await must('stop', id);
    expect(await wait(id)).toBe(5);
  });

  test('a restart that was still to come is not forgotten', async () => {
    const id = await detached('echo run; exit 1', '--restart', 'on-failure:4'); // pauses of 100, 200, 400 and 800 ms
    const runs = () => readFileSync(`${engine.root}/containers/${id}/container.log`, 'utf8').split('run').length - 1;
    await until('it came back once', () => runs() === 2, 45_000);
    await killSupervisor();
    await until('it came back as often as it may', () => runs() === 5, 45_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(runs()).toBe(5);
  });

  test('the exit status of one that ended meanwhile is not lost', async () => {
    const id = await detached('sleep 0.4; exit 9');
    await killSupervisor();
    expect(await wait(id)).toBe(9);
  });

  test('who waits meanwhile, or has asked it to stop, notices nothing', async () => {
    const id = await detached(
      'trap "exit 5" TERM; echo ready; while [ ! -e /go ]; do sleep 0.05; done; sleep 1; exit 6',
    );
    const waiting = engine.run('wait', id);
    await killSupervisor();
    const stopping = engine.run('stop', '-t', '60', id);
    await must('exec', id, 'touch', '/go');
    await killSupervisor();
    expect(await waiting).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[56]\n$/), stderr: '' });
    expect(await stopping).toMatchObject({ code: 0, stdout: `${id}\n`, stderr: '' });
  });

  test('no line of output is lost or doubled: killed ten times while twenty containers count', {
    timeout: 120_000,
  }, async () => {
    const count =
      'i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.1; done; exit 8';
    const counting = await Promise.all(Array.from({ length: 20 }, () => detached(count)));
    for (let i = 0; i < 10; i++) await killSupervisor();
    expect(await must('wait', ...counting)).toBe(Array(20).fill('8').join('\n'));
    const expected = Array.from({ length: 1500 }, (_, i) => `line ${i}\n`).join('');
    const logs = await Promise.all(counting.map((id) => engine.run('logs', id)));
    for (const log of logs) expect(log).toMatchObject({ code: 0, stdout: expected, stderr: '' });
  });

  test('the keeper too: its containers end, nothing is left, and all goes on', async () => {
    const id = await detached('exec sleep 100');
    const { pid, keeperPid } = await pids();
    expect(readFileSync(`/proc/${keeperPid}/cmdline`, 'utf8')).toContain(`keeper\0${engine.runRoot}`);
    process.kill(keeperPid, 'SIGKILL');
    await until('the supervisor is gone', () => !existsSync(`/proc/${pid}`));
    expect(await must('ps', '-a')).toMatch(/Exited \(137\) .* ago +[a-z]+_[a-z]+$/);
    expect(engine.states()).toEqual([]);
    expect(cgroups()).not.toContain(id);
    expect(await must('start', id)).toBe(id);
  });
});

describe('attach', needs({ root: true, command: 'setsid' }), () => {
  test('a shell with a terminal: typed and shown; the keys leave it running', async () => {
    const id = await must('run', '-d', '-it', 'busybox', 'sh');
    ids.push(id);
    const pty = new Pty([...engine.command, 'attach', id]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    pty.type('echo $((40+2)); stty size\r');
    await pty.shows(/\n42\r/);
    pty.type('\x10\x11');
    expect(await pty.ended).toBe(0);
    expect(pty.settingsAfter).toBe(pty.settings);
    expect(await must('ps', '-q')).toBe(id.slice(0, 12));
  });

  test('start -a -i passes a pipe on to its end, and ends as the container does', async () => {
    const id = await must('create', '-i', 'busybox', 'sh', '-c', 'cat; exit 4');
    ids.push(id);
    const input = 'x'.repeat(200_000);
    const result = await engine.runWith({ input }, 'start', '-a', '-i', id);
    expect({ code: result.code, length: result.stdout.length }).toEqual({ code: 4, length: input.length });
  });
});

describe('logs', needs({ root: true }), () => {
  test('bytes come back as they were, a line without an end too', async () => {
    const id = await detached('head -c 256 /bin/busybox; printf tail');
    await wait(id);
    const { stdout } = await engine.run('logs', id);
    expect(stdout.startsWith('\x7fELF')).toBe(true);
    expect(stdout.endsWith('tail')).toBe(true);
  });

  test('--tail, --since, --until, --timestamps, --follow', async () => {
    const id = await detached('echo one; sleep 0.5; echo two; echo three');
    const followed = await engine.run('logs', '-f', '--tail', '1', id);
    expect(followed.stdout.endsWith('two\nthree\n')).toBe(true);
    const stamped = (await must('logs', '-t', id)).split('\n');
    expect(stamped.map((line) => line.replace(/^\d{4}-\d\d-\d\dT[\d:.]{18}Z /, ''))).toEqual(['one', 'two', 'three']);
    const [, second] = stamped.map((line) => line.split(' ')[0]!);
    expect(await must('logs', '--since', second!, id)).toBe('two\nthree');
    expect(await must('logs', '--until', stamped[0]!.split(' ')[0]!, id)).toBe('one');
  });

  test('max-size and max-file: the newest stay', async () => {
    const id = await detached(
      'i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done',
      '--log-opt',
      'max-size=20k',
      '--log-opt',
      'max-file=3',
    );
    await wait(id);
    const files = readdirSync(`${engine.root}/containers/${id}`).filter((name) => name.startsWith('container.log'));
    expect(files.sort()).toEqual(['container.log', 'container.log.1', 'container.log.2']);
    const lines = (await must('logs', id)).split('\n').map((line) => Number(line.split(' ')[1]));
    expect(lines.at(-1)).toBe(2999);
    expect(lines).toEqual(Array.from({ length: lines.length }, (_, i) => 3000 - lines.length + i));
    expect(lines.length).toBeGreaterThan(400);
  });

  test('--log-driver none keeps none', async () => {
    const id = await detached('echo x', '--log-driver', 'none');
    await wait(id);
    expect(await engine.run('logs', id)).toMatchObject({ code: 125, stderr: expect.stringContaining('keeps no log') });
  });
});

describe('who else is on this host', needs({ root: true }), () => {
  test('SEC-19: the socket is a file of root’s alone; another user is hung up on, were it open to all', async () => {
    const { pid } = await pids();
    const path = `${engine.runRoot}/.supervisor.sock`;
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(statSync(engine.runRoot).mode & 0o7777).toBe(0o700);
    expect(readFileSync(`/proc/${pid}/net/unix`, 'utf8')).not.toMatch(/@.*supervisor/); // no name that any namespace could reach
    for (const folder of [engine.folder, engine.runRoot]) chmodSync(folder, 0o755);
    chmodSync(path, 0o777);
    try {
      const heard =
        '.on("data", (hello) => { console.log(hello.length); process.exit() }).on("close", () => console.log(0))';
      const talk = [
        '-e',
        `process.chdir(${JSON.stringify(engine.runRoot)}); require("net").connect(".supervisor.sock")${heard}`,
      ];
      const asOther = ['--reuid', '65534', '--clear-groups', process.execPath, ...talk];
      expect(await runProgram('setpriv', asOther)).toMatchObject({ code: 0, stdout: '0\n' });
      expect(Number((await runProgram(process.execPath, talk)).stdout)).toBeGreaterThan(10);
    } finally {
      chmodSync(path, 0o600);
      for (const folder of [engine.folder, engine.runRoot]) chmodSync(folder, 0o700);
    }
  });

  test('SEC-17: a log that is a link is neither written to nor read', async () => {
    const secret = `${engine.folder}/secret`;
    writeFileSync(secret, '{"log":"secret\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n');
    const before = readFileSync(secret, 'utf8');
    const id = await must('create', 'busybox', 'echo', 'hello');
    ids.push(id);
    const log = `${engine.root}/containers/${id}/container.log`;
    rmSync(log);
    symlinkSync(secret, log);
    await must('start', id);
    await wait(id);
    expect(readFileSync(secret, 'utf8')).toBe(before);
    const { code, stdout } = await engine.run('logs', id);
    expect({ failed: code !== 0, stdout }).toEqual({ failed: true, stdout: '' });
  });
});

describe('refused', needs({ root: true }), () => {
  test.each([
    [['--restart', 'sometimes'], /is no policy/],
    [['--rm', '--restart', 'always'], /exclude each other/],
    [['--log-driver', 'journald'], /json-file and none are/],
    [['--log-opt', 'max-size=1q'], /is not a size/],
    [['--stop-timeout', '-1'], /not a whole number/],
    [['--trace'], /not with -d/],
  ])('run -d %j', async (words, text) => {
    const { code, stderr } = await engine.run('run', '-d', ...words, 'busybox', 'true');
    expect(code).toBe(125);
    expect(stderr).toMatch(text);
    expect(engine.containers()).toEqual([]);
  });

  test.each([
    [['run', '--restart', 'always', 'busybox'], /in the background/],
    [['run', '--log-opt', 'max-size=1m', 'busybox'], /in the background/],
    [['create', '-d', 'busybox'], /create runs nothing/],
    [['create', '--trace=/tmp/x', 'busybox'], /create builds nothing yet/],
    [['explain', 'run', '--trace=/tmp/x', 'busybox'], /explain builds nothing/],
  ])('%j', async (words, text) => {
    const { code, stderr } = await engine.run(...words);
    expect(code).toBe(125);
    expect(stderr).toMatch(text);
    expect(engine.containers()).toEqual([]);
  });
});
