/** A created container: what happens before it waits, what only after its start, and what is handed on to it. */
import { expect, test } from 'vitest';
import { initContainer } from '../../../../src/core/init/container.ts';
import * as k from '../../../../src/core/kernel/constants.ts';
import type { HostFd } from '../../../../src/core/stage/stage.ts';
import { directory, file } from '../../../../src/workshop/files.ts';
import { recordSmall } from '../../../support/small-image.ts';
import { planOf, target } from './support.ts';

/** The FIFO is the first descriptor that the recording stage receives: 4. */
const hostFiles = { 'host:/proc/self/fd': directory, 'host:/proc/self/fd/4': file() };

function created(more: { preserved?: readonly HostFd[] } = {}) {
  const recording = recordSmall({ watch: false, target, files: hostFiles });
  const plan = planOf({ input: { createCwd: true }, change: (one) => ({ ...one, mounts: [] }) });
  initContainer(recording.stage, plan, { namespaces: [], pipes: [], gate: 50 as HostFd, ...more }, () => undefined);
  return recording;
}

test('the last frame begins by opening the gate, and no answer to it is waited for', () => {
  const { stage, calls } = created();
  const last = calls.filter(({ frame }) => frame === calls.at(-1)!.frame);
  expect(last[0]!.name).toBe('openat2');
  expect(last.at(-1)!.name).toBe('execve');
  expect(stage.last!.calls).toHaveLength(last.length);
  expect(stage.last!.calls[0]).toMatch(/^openat2\(\d+, "4", /);
  expect(stage.last!.calls.at(-1)).toMatch(/^execve\(/);
});

test('it outlives the runtime from before the gate on, and nothing takes that back', () => {
  const deathSignals = created().calls.filter(({ name, args }) => name === 'prctl' && args[0] === k.PR_SET_PDEATHSIG);
  expect(deathSignals.map(({ args }) => args[1])).toEqual([0]);
});

test('privileges are given up only behind the gate: until then it is still the runtime’s own', () => {
  const { calls } = created();
  const gate = calls.findLastIndex(({ name }) => name === 'openat2');
  for (const name of ['setresuid', 'capset', 'seccomp'])
    expect(calls.findIndex((call) => call.name === name)).toBeGreaterThan(gate);
});

test('the gate is reached by the host’s procfs, opened before the root changes', () => {
  const { calls } = created();
  const procfs = calls.findIndex(({ name, memory }) => name === 'openat2' && text(memory.get(1)) === '/proc/self/fd');
  expect(procfs).toBeGreaterThan(-1);
  expect(procfs).toBeLessThan(calls.findIndex(({ name }) => name === 'pivot_root'));
});

test('preserved descriptors lie at 3 and up, and what is above them is closed by the exec', () => {
  const { calls } = created({ preserved: [60, 61] as HostFd[] });
  const placed = calls.filter(({ name, args }) => name === 'dup3' && args[1]! >= 3).map(({ args }) => args[1]);
  expect(placed).toEqual([3, 4]);
  expect(calls.find(({ name }) => name === 'close_range')!.args[0]).toBe(5);
});

function text(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('utf8', 0, bytes.indexOf(0));
}
