import { expect, test } from 'vitest';
import type { CgroupStatistics } from '../../../src/lifecycle/statistics.ts';
import { eventLine, runcStats } from '../../../src/oci/runc-stats.ts';

const pressure = { some: { avg10: 1, avg60: 0, avg300: 0, total: 5 } };

test('a cgroup without controllers has times, and zeros where runc has them', () => {
  const stats = runcStats({ cpu: { stat: { usage_usec: 3, user_usec: 2, system_usec: 0 } } }, 4);
  expect(stats).toMatchObject({
    cpu: { usage: { total: 3000, user: 2000, kernel: 0 }, throttling: {} },
    memory: { usage: { limit: 0, failcnt: 0 } },
    ...{ pids: { current: 4 }, blkio: {}, hugetlb: {}, intel_rdt: {}, network_interfaces: null },
  });
});

test('what the controllers count has its place', () => {
  const statistics: CgroupStatistics = {
    cpu: { stat: { usage_usec: 3, nr_periods: 10, nr_throttled: 4, throttled_usec: 5 }, pressure },
    memory: {
      ...{ current: 100, max: 1000, peak: 500, low: 0, stat: { file: 7, anon: 8 } },
      ...{ swap: { current: 20, max: 200 }, pressure },
    },
    pids: { current: 3, max: 20, events: { max: 9 } },
    io: { stat: { '8:0': { rbytes: 1, wbytes: 0, rios: 2, wios: 3 }, '7:0': {} } },
    hugetlb: { '2MB': { current: 5, max: 6, events: { max: 7 } } },
  };
  expect(runcStats(statistics, 1)).toMatchObject({
    cpu: { throttling: { periods: 10, throttledPeriods: 4, throttledTime: 5000 }, psi: pressure },
    memory: {
      ...{ cache: 7, raw: { file: 7, anon: 8 }, psi: pressure },
      usage: { limit: 1000, usage: 100, max: 500, failcnt: 0 },
      swap: { limit: 1200, usage: 120, failcnt: 0 },
    },
    pids: { current: 3, limit: 20, refused: 9 },
    blkio: {
      ioServiceBytesRecursive: [
        { major: 8, op: 'Read', value: 1 },
        { major: 8, op: 'Write' },
      ],
      ioServicedRecursive: [
        { major: 8, op: 'Read', value: 2 },
        { major: 8, op: 'Write', value: 3 },
      ],
    },
    hugetlb: { '2MB': { usage: 5, failcnt: 7 } },
  });
});

test('no limit is the largest uint64, as a number; of processes it is left out', () => {
  const memory = { current: 1, max: Infinity, low: 0, stat: {}, swap: { current: 0, max: Infinity } };
  const data = runcStats({ memory, pids: { current: 1, max: Infinity } }, 1);
  const line = eventLine({ type: 'stats', id: 'x', data });
  expect(line).toMatch(/"usage":\{"limit":18446744073709551615,"usage":1,"failcnt":0\}/);
  expect(line).toMatch(/"swap":\{"limit":18446744073709551615,/);
  expect(line).toMatch(/"pids":\{"current":1\}/);
  expect(line.endsWith('}\n')).toBe(true);
  expect(eventLine({ type: 'oom', id: 'x' })).toBe('{"type":"oom","id":"x"}\n');
});
