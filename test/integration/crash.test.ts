/** tinyctr killed with -9, containers by the dozen: nothing may be left on the machine. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { cgroups, Engine, mountsBelow, processesWith, readIfThere, runProgram, until } from '../support/tinyctr.ts';

let engine: Engine;
/** An entry of the environment that marks the processes of this file's containers. */
const mark = `TINYCTR_TEST=crash-${process.pid}`;
/** Every cgroup that a container of this file may have had. */
const seen = new Set<string>();
let files: string[];

const run = (...options: string[]) => ['run', '-e', mark, ...options, 'busybox'];
/** All of the store's and the run folder's files, but for what is inside of layers. */
const allFiles = () =>
  execFileSync('find', [engine.root, engine.runRoot, '-path', '*/layers/*/*', '-prune', '-o', '-print'], {
    encoding: 'utf8',
  })
    .split('\n')
    .sort();

beforeAll(async () => {
  engine = await new Engine().prepare();
  await engine.run('run', '--rm', '--name', 'some-name', 'busybox', 'true');
  files = allFiles();
});
afterAll(() => engine.remove());

/**
 * Processes in cgroups of this file's containers: a stage has no environment that could be marked. Not zombies: when
 * their parent was killed they wait for the machine's process 1.
 */
function inCgroups(): number[] {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  const id = (pid: string) => /\/tinyctr\/([0-9a-f]{64})/.exec(readIfThere(`/proc/${pid}/cgroup`))?.[1];
  const isZombie = (pid: string) => /^State:\tZ/m.test(readIfThere(`/proc/${pid}/status`));
  return pids.filter((pid) => seen.has(id(pid) ?? '') && !isZombie(pid)).map(Number);
}

function noteContainers(): void {
  for (const id of engine.states()) seen.add(id.replace(/^\.new-[0-9]+-/, ''));
}

async function expectProcessesGone(): Promise<void> {
  noteContainers();
  await until('the container’s processes are gone', () => processesWith(mark).length === 0, 2000);
  await until('no half-made process is left', () => inCgroups().length === 0, 2000);
}

/** Lets the next command clean up, any will do; then everything must be as it was before. */
async function expectNothingLeft(): Promise<void> {
  noteContainers();
  expect(await engine.run('ps')).toMatchObject({ code: 0, stderr: '' });
  expect(engine.states()).toEqual([]);
  expect(engine.containers()).toEqual([]);
  expect(cgroups().filter((name) => seen.has(name))).toEqual([]);
  expect(mountsBelow(engine.folder)).toEqual([]);
  expect(allFiles()).toEqual(files);
}

async function killWhenRunning(words: string[], processes: number): Promise<void> {
  const child = engine.spawn(...words);
  try {
    await until('the container runs', () => processesWith(mark).length >= processes);
  } finally {
    child.kill('SIGKILL');
  }
  await expectProcessesGone();
}

const family = ['sh', '-c', 'sleep 1000 & (sleep 1000 & sleep 1000) & sleep 1000'];

describe('tinyctr killed with -9 while a container runs', needs({ root: true }), () => {
  afterEach(expectNothingLeft);

  test('all of its processes die', () => killWhenRunning([...run('--rm'), ...family], 4));
  test('an ordinary user’s too', () => killWhenRunning([...run('--rm', '-u', 'nobody'), ...family], 4));
  test('with --init too', () => killWhenRunning([...run('--rm', '--init'), ...family], 4));
  test('with no new privileges too', () =>
    killWhenRunning([...run('--rm', '--security-opt', 'no-new-privileges', '-u', '1000:1000'), ...family], 4));

  test('at a terminal too', async () => {
    const pty = new Pty([...engine.command, ...run('--rm', '--name', 'at-terminal'), ...family]);
    await until('the container runs', () => processesWith(mark).length >= 4);
    pty.child.kill('SIGKILL');
    expect(await pty.ended).toBe(137);
    await expectProcessesGone();
  });

  // The kernel forgets the parent-death signal of a process that changes its user (PR_SET_PDEATHSIG(2const)).
  test('one whose process 1 changes its user ends with the next command at the latest', async () => {
    const child = engine.spawn(...run('--rm', '--name', 'daemon'), 'su', '-s', '/bin/sleep', 'nobody', '1000');
    await until('the container runs', () => processesWith(mark).length >= 1);
    child.kill('SIGKILL');
    noteContainers();
    expect(await engine.run('ps')).toMatchObject({ code: 0, stderr: '' });
    await expectProcessesGone();
  });

  test('a container without --rm is kept, and known as killed', async () => {
    await killWhenRunning([...run('--name', 'kept'), ...family], 4);
    expect((await engine.run('ps', '-a')).stdout).toMatch(/Exited \(137\) .* ago +kept\n/);
    await engine.run('rm', 'kept');
  });

  test('`cleanup` tells which containers it cleaned up', async () => {
    await killWhenRunning([...run('--rm'), ...family], 4);
    const [id] = engine.states();
    expect(await engine.run('cleanup')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(new RegExp(`^state +\\S+/${id}: removed`, 'm')),
    });
  });

  test('another command leaves a running container alone', async () => {
    const child = engine.spawn(...run('--rm'), ...family);
    await until('the container runs', () => processesWith(mark).length >= 4);
    expect(await engine.run('cleanup')).toMatchObject({ code: 0, stdout: '' });
    expect(processesWith(mark).length).toBeGreaterThanOrEqual(4);
    child.kill('SIGKILL');
    await expectProcessesGone();
  });
});

describe('tinyctr killed with -9 at any moment', needs({ root: true }), () => {
  // From before Node has started to after the container has ended; primes, so that no beat is hit again and again.
  const delaysMs = Array.from({ length: 40 }, (_, i) => 3 * i + (i % 7));

  test('nothing is left', async () => {
    for (const delayMs of delaysMs) {
      const named = delayMs % 2 === 0 ? ['--name', `n${delayMs}`] : [];
      const child = engine.spawn(...run('--rm', ...named), 'sh', '-c', 'sleep 1000 & sleep 0.05');
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await ended;
      await expectProcessesGone();
    }
    await expectNothingLeft();
  });

  test('several at once, the next commands at the same time', async () => {
    const killed = Array.from({ length: 12 }, async (_, i) => {
      const child = engine.spawn(...run('--rm'), 'sleep', '1000');
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => setTimeout(resolve, 60 * i));
      child.kill('SIGKILL');
      await ended;
    });
    const commands = Array.from({ length: 6 }, () => engine.run('cleanup'));
    for (const result of await Promise.all(commands)) expect(result).toMatchObject({ code: 0, stderr: '' });
    await Promise.all(killed);
    await expectProcessesGone();
    await expectNothingLeft();
  });
});

describe('a cgroup that can’t be removed', needs({ root: true }), () => {
  // What is mounted on it in the runtime's own mount namespace keeps it.
  const script = `
    mkfifo "$DIR/input"
    "$@" run --rm -i --cidfile "$DIR/id" busybox sh -c 'read line; exit 5' < "$DIR/input" &
    exec 3> "$DIR/input"
    until [ -s "$DIR/id" ] && C=$CGROUPS/tinyctr/$(cat "$DIR/id") && grep -q . "$C/cgroup.procs"; do sleep 0.05; done
    mount --bind "$C" "$C"
    echo >&3
    wait $!
    echo "$? $C"
    umount "$C"`;

  test('is told, the exit status stays the command’s, and the next command removes it', async () => {
    const { stdout, stderr } = await runProgram(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...engine.command],
      { env: { DIR: engine.folder, CGROUPS: cgroupRoot() } },
    );
    const [status, cgroup] = stdout.trim().split(' ') as [string, string];
    expect(status).toBe('5');
    expect(stderr).toContain(`warning: ${cgroup} can't be removed (EBUSY)`);
    expect(existsSync(cgroup)).toBe(true);
    expect(await engine.run('ps')).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(cgroup)).toBe(false);
    rmSync(`${engine.folder}/input`);
    rmSync(`${engine.folder}/id`);
    await expectNothingLeft();
  });
});

describe('many containers at once', needs({ root: true }), () => {
  test('twenty parallel runs finish with their own output and leave nothing', async () => {
    const script = 'echo $N > /file; sleep 0.0$((N % 10)); cat /file; ls / | grep -c file; exit $N';
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => engine.run(...run('--rm', '-e', `N=${i}`), 'sh', '-c', script)),
    );
    expect(results).toEqual(results.map((_, i) => ({ code: i, signal: null, stderr: '', stdout: `${i}\n1\n` })));
    await expectProcessesGone();
    await expectNothingLeft();
  });

  test('of ten at once with the same name one runs, and the others are refused', async () => {
    const results = await Promise.all(
      Array.from({ length: 10 }, () => engine.run(...run('--rm', '--name', 'only-one'), 'sleep', '1.5')),
    );
    expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
    const refused = results.filter(({ code }) => code !== 0);
    for (const { code, stderr } of refused)
      expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('the name only-one is in use') });
    await expectNothingLeft();
  });
});
