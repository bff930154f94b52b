import { describe, expect, test } from 'vitest';
import type { ContainerRecord } from '../../../src/engine/containers.ts';
import { comesBack } from '../../../src/engine/restart-policy.ts';
import type { RestartPolicy } from '../../../src/engine/stored-file.ts';
import { comesBackAtBoot, monotonicMs, msUntil, nextPause } from '../../../src/supervisor/restart.ts';

const policy = (name: RestartPolicy['name'], maxRetries = 0): RestartPolicy => ({ name, maxRetries });

describe('after its end', () => {
  test.each([
    [policy('no'), 1, 0, false],
    [policy('on-failure'), 0, 0, false],
    [policy('on-failure'), 137, 1000, true],
    [policy('on-failure', 2), 1, 1, true],
    [policy('on-failure', 2), 1, 2, false],
    [policy('always'), 0, 1000, true],
    [policy('unless-stopped'), 0, 1000, true],
  ])('%j with %i, the %ith time: %s', (given, code, restarts, back) => {
    expect(comesBack(given, code, restarts)).toBe(back);
  });
});

describe('after a boot', () => {
  const ran = { started: '2026-01-01T00:00:00Z' } as ContainerRecord;
  const ended = (exitCode: number) => ({ ...ran, ended: { at: '2026-01-01T00:00:01Z', exitCode } });
  const all = [policy('no'), policy('on-failure'), policy('on-failure', 2), policy('unless-stopped'), policy('always')];
  test.each<[string, ContainerRecord, boolean[]]>([
    [
      'nobody has started it',
      { ...ran, started: undefined } as unknown as ContainerRecord,
      [false, false, false, false, false],
    ],
    ['it ran', ran, [false, true, true, true, true]],
    ['it ran, brought back as often as it may be', { ...ran, restarts: 2 }, [false, true, false, true, true]],
    ['it had failed', ended(1), [false, true, true, true, true]],
    ['it had ended well', ended(0), [false, false, false, true, true]],
    ['somebody had stopped it', { ...ended(143), stopped: true }, [false, false, false, false, true]],
  ])('%s', (_, record, back) => {
    expect(all.map((each) => comesBackAtBoot(each, record))).toEqual(back);
  });
});

test('pauses double up to a minute, and begin anew after a run that lasted', () => {
  let last: number | undefined;
  const pauses = Array.from({ length: 12 }, () => {
    last = nextPause(last, 9_999);
    return last;
  });
  expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
  expect(nextPause(60_000, 10_000)).toBe(100);
});

test('what is due is never longer away than the longest pause, whatever a file says', () => {
  expect(msUntil(monotonicMs() - 5)).toBe(0);
  expect(msUntil(Number.MAX_SAFE_INTEGER)).toBe(60_000);
  expect(msUntil(monotonicMs() + 1000)).toBeLessThanOrEqual(1000);
});
