import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseCgroupFile, readStatistics } from '../../../src/lifecycle/statistics.ts';

const pressure = 'some avg10=1.50 avg60=0.20 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n';
const some = { avg10: 1.5, avg60: 0.2, avg300: 0, total: 12345 };
const full = { avg10: 0, avg60: 0, avg300: 0, total: 7 };

test.each<[string, string, unknown]>([
  ['memory.current', '4096\n', 4096],
  ['memory.max', 'max\n', Number.POSITIVE_INFINITY],
  ['memory.events', 'low 0\noom 2\noom_kill 1\n', { low: 0, oom: 2, oom_kill: 1 }],
  ['cpu.stat', 'usage_usec 5\nnr_throttled 3\n', { usage_usec: 5, nr_throttled: 3 }],
  ['memory.pressure', pressure, { some, full }],
  ['io.stat', '7:0 rbytes=5 wbytes=6\n259:1 \n', { '7:0': { rbytes: 5, wbytes: 6 }, '259:1': {} }],
  ['io.stat', '', {}],
  ['rdma.max', 'mlx5_0 hca_handle=2 hca_object=max\n', { mlx5_0: { hca_handle: 2, hca_object: Infinity } }],
])('%s: %j', (file, text, value) => {
  expect(parseCgroupFile(file, text)).toEqual(value);
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/statistics-`);
});
afterEach(() => rmSync(folder, { recursive: true }));
const write = (files: Record<string, string>) => {
  for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text);
};

test('a cgroup without controllers has its processor time; pressure alone makes no controller', () => {
  write({
    'cpu.stat': 'usage_usec 5\n',
    'cpu.pressure': pressure,
    'memory.pressure': pressure,
    'io.pressure': pressure,
  });
  write({ 'cpu.stat.local': 'throttled_usec 0\n', 'cgroup.procs': '1\n' });
  expect(readStatistics(folder)).toEqual({ cpu: { stat: { usage_usec: 5 }, pressure: { some, full } } });
});

test('every file of a controller has the place that its name says', () => {
  write({ 'memory.current': '1\n', 'memory.max': 'max\n', 'memory.peak': '2\n', 'memory.low': '0\n' });
  write({ 'memory.swap.current': '3\n', 'memory.swap.max': '4\n', 'memory.stat': 'anon 1\n' });
  write({ 'memory.events': 'oom_kill 1\n', 'memory.events.local': 'oom_kill 9\n' });
  write({ 'pids.current': '1\n', 'pids.max': '20\n', 'pids.events': 'max 7\n' });
  write({ 'hugetlb.2MB.current': '0\n', 'hugetlb.2MB.max': 'max\n', 'hugetlb.2MB.events': 'max 0\n' });
  write({
    'hugetlb.2MB.rsvd.current': '0\n',
    'hugetlb.2MB.rsvd.max': '2097152\n',
    'hugetlb.2MB.numa_stat': 'total=0\n',
  });
  write({ 'io.stat': '8:0 rbytes=1\n', 'io.max': '', 'rdma.current': 'mlx5_0 hca_handle=1\n' });
  expect(readStatistics(folder)).toEqual({
    memory: {
      ...{ current: 1, max: Infinity, peak: 2, low: 0, stat: { anon: 1 }, events: { oom_kill: 1 } },
      swap: { current: 3, max: 4 },
    },
    pids: { current: 1, max: 20, events: { max: 7 } },
    hugetlb: { '2MB': { current: 0, max: Infinity, events: { max: 0 }, rsvd: { current: 0, max: 2097152 } } },
    io: { stat: { '8:0': { rbytes: 1 } } },
    rdma: { current: { mlx5_0: { hca_handle: 1 } } },
  });
});

test('a cgroup that is gone is an error', () => {
  expect(() => readStatistics(`${folder}/gone`)).toThrow(/ENOENT/);
});
