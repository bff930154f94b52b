import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { errnoNumber } from '../../../src/core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../../../src/core/kernel/error.ts';
import { planContainer } from '../../../src/core/plan/container.ts';
import { StageGone } from '../../../src/core/stage/stage.ts';
import { explainFailure } from '../../../src/explain/failure.ts';

/** Stands for the cgroup hierarchy: not every host has the memory controller there. */
const hierarchy = vi.hoisted(() => ({ path: '' }));
vi.mock('../../../src/core/host/cgroup.ts', () => ({ cgroupRoot: () => hierarchy.path }));

/** Above PID_MAX_LIMIT: never a process. */
const NOBODY = 0x400001;

const plan = (rlimits: { type: string; soft: number; hard: number }[] = [], memory?: { limit: number }) =>
  planContainer(
    {
      id: 'explained',
      spec: {
        process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 }, rlimits },
        linux: { namespaces: [{ type: 'mount' }], ...(memory ? { resources: { memory } } : {}) },
      },
      root: { target: '/nonexistent', source: { kind: 'directory', path: '/nonexistent' } },
      cgroupPath: '/explained',
    },
    { permittedCapabilities: 0n },
  );

const failure = (syscall: string, call: string, code: string) =>
  new SyscallError({ syscall, call, errno: errnoNumber(code)!, side: 'stage', step: 'test' });

test('an error that nothing is known about comes back as it was', () => {
  const errors: unknown[] = [
    new Error('x'),
    'x',
    new ContainerError('x'),
    failure('sethostname', 'sethostname("x", 1)', 'EPERM'),
    failure('prlimit64', 'prlimit64(0, 7, [16 bytes], NULL)', 'EINVAL'),
    failure('fsmount', 'fsmount(5, 1, 0)', 'EPERM'),
  ];
  for (const error of errors) expect(explainFailure(error, plan(), process.pid)).toBe(error);
});

test('and so does one whose facts are gone', () => {
  const rlimits = [{ type: 'RLIMIT_NOFILE', soft: 1, hard: -1 }];
  const errors = [
    failure('pivot_root', 'pivot_root(".", ".")', 'EINVAL'),
    failure('prlimit64', 'prlimit64(0, 7, [16 bytes], NULL)', 'EPERM'),
    new StageGone({ frame: 0, call: 0, phase: 0, result: 0 }, undefined),
  ];
  for (const error of errors) expect(explainFailure(error, plan(rlimits), NOBODY)).toBe(error);
});

test.each([
  ['ENOENT', 127],
  ['EACCES', 126],
  ['ENOEXEC', 126],
  ['E2BIG', 126],
])('%s of execve is exit code %d, even when the process is gone', (code, exitCode) => {
  const error = failure('execve', 'execve("/a \\"b\\"", ["x"], [/* 0 vars */])', code);
  const explained = explainFailure(error, plan(), NOBODY);
  expect(explained).toMatchObject({ exitCode, cause: error, hint: undefined });
  expect((explained as Error).message).toMatch(/^exec: "\/a \\"b\\"": [a-z ]+$/);
});

test('a limit that can not be raised, by name, with the present one (E15)', () => {
  const present = /^Max processes +\S+ +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1];
  const mostFiles = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
  const error = failure('prlimit64', 'prlimit64(0, 6, [16 bytes], NULL)', 'EPERM');
  const low = { type: 'RLIMIT_CORE', soft: 0, hard: 0 };
  const explain = (type: string, hard: number) =>
    explainFailure(error, plan([low, { type, soft: 1, hard }]), process.pid);
  expect(explain('RLIMIT_NOFILE', mostFiles + 1)).toMatchObject({
    message: `RLIMIT_NOFILE can't be set to ${mostFiles + 1}: the most that this kernel gives is ${mostFiles} (fs.nr_open)`,
    specPointer: '/process/rlimits/1',
    cause: error,
  });
  if (present !== 'unlimited')
    expect(explain('RLIMIT_NPROC', -1)).toMatchObject({
      message: `RLIMIT_NPROC can't be set to unlimited: the hard limit here is ${present}, and raising it takes CAP_SYS_RESOURCE`,
    });
});

describe('a stage that was killed', () => {
  beforeAll(() => {
    hierarchy.path = mkdtempSync(`${tmpdir()}/tinyctr-explain-`);
    mkdirSync(`${hierarchy.path}/explained`);
  });
  afterAll(() => rmSync(hierarchy.path, { recursive: true }));

  const gone = new StageGone({ frame: 0, call: 0, phase: 1, result: 0 }, 'capset()');
  const limited = plan([], { limit: 65536 });
  const events = (text: string) => writeFileSync(`${hierarchy.path}/explained/memory.events`, `low 0\n${text}\n`);

  function explainKilled(signal: NodeJS.Signals, of = limited): unknown {
    const child = spawn('sleep', ['20']);
    child.kill(signal);
    return explainFailure(gone, of, child.pid!); // before Node's event loop can reap it
  }

  test('at its memory limit: the limit, and where the kernel counts (E17)', () => {
    events('max 7\noom 1\noom_kill 1');
    expect(explainKilled('SIGKILL')).toMatchObject({
      message: 'the memory limit of 65536 bytes is too small to start anything',
      hint: 'the limit was hit (memory.events: oom_kill 1); give at least 6m',
      cause: gone,
    });
  });

  test('nothing is claimed without a count, without a limit, or after another signal', () => {
    events('max 7\noom_kill 0');
    expect(explainKilled('SIGKILL')).toBe(gone);
    events('oom_kill 1');
    expect(explainKilled('SIGKILL', plan())).toBe(gone);
    expect(explainKilled('SIGTERM')).toBe(gone);
  });

  test('by its seccomp filter', () => {
    expect(explainKilled('SIGSYS', plan())).toMatchObject({
      message: 'the seccomp profile kills the process before its command runs',
      specPointer: '/linux/seccomp',
      cause: gone,
    });
  });

  test('or could not even be born at its memory limit', () => {
    const error = failure('clone3', 'clone3({flags=0x20000})', 'ENOMEM');
    events('max 0\noom_kill 0');
    expect(explainFailure(error, limited, 0)).toBe(error);
    events('max 18\noom_kill 0');
    expect(explainFailure(error, limited, 0)).toMatchObject({ hint: expect.stringContaining('max 18'), cause: error });
  });
});

test('the call is found below what was wrapped around it', () => {
  const error = failure('execve', 'execve("/x", [], [/* 0 vars */])', 'ENOENT');
  const wrapped = new ContainerError('wrapped', { cause: error });
  expect(explainFailure(wrapped, plan(), NOBODY)).toMatchObject({ exitCode: 127, cause: error });
});
