/** The sequence of exec, call by call, by a recording stage: what it must have done before it comes near the container. */
import { expect, test } from 'vitest';
import { execProcess } from '../../../../src/core/init/exec.ts';
import * as k from '../../../../src/core/kernel/constants.ts';
import type { HostFd } from '../../../../src/core/stage/stage.ts';
import { recordSmall } from '../../../support/small-image.ts';
import { planOf, target } from './support.ts';

const every = k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWUTS | k.CLONE_NEWIPC | k.CLONE_NEWNET | k.CLONE_NEWCGROUP;

function record(more: { namespaces?: number; outlives?: boolean; oomScoreAdj?: number; terminal?: boolean } = {}) {
  const { namespaces = every, outlives = false, oomScoreAdj, terminal = false } = more;
  const files = { '/dev/pts': { mode: k.S_IFDIR } };
  const recording = recordSmall({ watch: true, target, files });
  recording.world.mount('/dev/pts', 'detached devpts');
  const plan = planOf({ change: (one) => ({ ...one, process: { ...one.process, createCwd: false, cwd: '/tmp' } }) });
  const { oomScoreAdj: _, ...rest } = plan.process;
  const process = oomScoreAdj === undefined ? rest : { ...rest, oomScoreAdj };
  let master: HostFd | undefined;
  execProcess(
    recording.stage,
    terminal ? { process, terminal: { rows: 24, columns: 80 } } : { process },
    { target: 40 as HostFd, namespaces, pipes: [], preserved: [], outlives },
    (fd) => {
      master = fd;
    },
  );
  const named = (name: string) => recording.calls.filter((call) => call.name === name);
  const first = (name: string) => recording.calls.findIndex((call) => call.name === name);
  return { ...recording, named, first, master };
}

test('it is not dumpable before anything else, and enters all namespaces with one call, by the pidfd', () => {
  const { calls, named, first, world } = record();
  expect(calls[0]).toMatchObject({ name: 'prctl', args: [k.PR_SET_DUMPABLE, 0, 0, 0, 0, 0] });
  expect(named('setns').map(({ args }) => args[1])).toEqual([every]);
  expect(world.label(named('setns')[0]!.args[0]!)).toBe('descriptor 40 of the host');
  expect(first('openat2')).toBeGreaterThan(first('setns'));
});

test('in a user namespace it becomes its root right after', () => {
  const { calls, first } = record({ namespaces: every | k.CLONE_NEWUSER });
  const after = calls.slice(first('setns') + 1).filter(({ name }) => name !== 'close');
  expect(after.slice(0, 2)).toMatchObject([
    { name: 'setresgid', args: [0, 0, 0, 0, 0, 0] },
    { name: 'setresuid', args: [0, 0, 0, 0, 0, 0] },
  ]);
});

test('the oom score is written before, where a procfs can be mounted in any case', () => {
  const { calls, first } = record({ oomScoreAdj: 5 });
  const write = calls.findIndex(({ name }) => name === 'write');
  expect(write).toBeGreaterThan(0);
  expect(write).toBeLessThan(first('setns'));
});

test('the parent’s death is its own, unless it is to outlive it', () => {
  const signals = (outlives: boolean) =>
    record({ outlives })
      .named('prctl')
      .filter(({ args }) => args[0] === k.PR_SET_PDEATHSIG)
      .map(({ args }) => args[1]);
  expect(signals(false)).toEqual([9]);
  expect(signals(true)).toEqual([0]);
});

test('its terminal is of the container’s devpts, and /dev/console stays that of the first process', () => {
  const { named, master } = record({ terminal: true });
  expect(master).toBeDefined();
  expect(named('move_mount')).toEqual([]);
});

test('the last frame is the same as the first process’s', () => {
  const names = (calls: readonly { name: string; frame: number }[]) =>
    calls.filter(({ frame }) => frame === calls.at(-1)!.frame).map(({ name }) => name);
  const last = names(record().calls);
  expect(last.at(-1)).toBe('execve');
  for (const name of ['setgroups', 'setresuid', 'close_range', 'seccomp', 'capset']) expect(last).toContain(name);
});
