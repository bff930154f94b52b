import { describe, expect, it } from 'vitest';
import { type CgroupNode, controllerLines, drawTree } from '../../../src/engine/cgroup-draw.ts';
import { type FileValue, fileRows, hugetlbRow, parseFile } from '../../../src/engine/cgroup-files.ts';

const words = (file: string, text: string, others: Record<string, string> = {}) => {
  const all = Object.fromEntries(Object.entries({ ...others, [file]: text }).map(([name, t]) => [name, parseFile(t)]));
  const rows = [...fileRows, hugetlbRow(file)].filter((row) => row?.file === file);
  return rows.map((row) => row!.words(all[file]!, all)).filter((line) => line !== undefined);
};

describe('parseFile', () => {
  it.each<[string, FileValue]>([
    ['33554432\n', 33_554_432],
    ['max\n', 'max'],
    ['', ''],
    ['50000 100000\n', '50000 100000'],
    ['0-1\n', '0-1'],
    ['low 0\noom_kill 2\n', { low: 0, oom_kill: 2 }],
    ['default 100\n', { default: 100 }],
    ['8:0 rbps=max wbps=1048576\n', { '8:0': { rbps: 'max', wbps: 1_048_576 } }],
    [
      'some avg10=1.50 avg60=0.00 total=9\nfull avg10=0.00 avg60=0.00 total=1\n',
      { some: { avg10: 1.5, avg60: 0, total: 9 }, full: { avg10: 0, avg60: 0, total: 1 } },
    ],
  ])('%j', (text, value) => {
    expect(parseFile(text)).toEqual(value);
  });
});

describe('files in words', () => {
  it.each([
    ['memory.max', '33554432\n', ['32 MiB']],
    ['memory.max', 'max\n', ['no limit']],
    ['cpu.max', '50000 100000\n', ['0.5 CPUs']],
    ['cpu.max', 'max 100000\n', ['no limit']],
    ['cpu.stat', 'usage_usec 1500000\nnr_periods 10\nnr_throttled 3\n', ['1.50 s', '3 of 10']],
    ['cpu.stat', 'usage_usec 1500000\n', ['1.50 s']],
    ['cpu.pressure', 'some avg10=99.57 total=1\nfull avg10=0.25 total=1\n', ['some 100 full 0.3 %']],
    ['io.max', '7:0 rbps=1048576 wbps=max riops=max wiops=20\n', ['7:0 rbps 1 MiB wiops 20']],
    ['io.stat', '7:0 rbytes=1024 wbytes=0\n8:0 rbytes=1024 wbytes=512\n', ['r 2 KiB w 512 bytes']],
    ['pids.events', 'max 7\n', ['max 7']],
    ['hugetlb.2MB.max', '9223372036852678656\n', ['no limit']],
  ])('%s of %j', (file, text, wanted) => {
    expect(words(file, text)).toEqual(wanted);
  });

  it('show use against the limit', () => {
    expect(words('memory.current', '16777216\n', { 'memory.max': '33554432\n' })).toEqual(['16 MiB [####    ]']);
    expect(words('memory.current', '16777216\n', { 'memory.max': 'max\n' })).toEqual(['16 MiB']);
    expect(words('pids.current', '20\n', { 'pids.max': '20\n' })).toEqual(['20 [########]']);
  });

  it('have a meaning that fits', () => {
    for (const { file, meaning } of fileRows) {
      expect(meaning.length, meaning).toBeLessThanOrEqual(33);
      expect(file.length, file).toBeLessThan(20);
    }
  });
});

const node = (path: string, files: Record<string, FileValue>, more: Partial<CgroupNode> = {}): CgroupNode => ({
  ...{ path, title: '', processes: [], children: [] },
  files,
  ...more,
});

it('draws a tree; what is not set only when everything is asked for', () => {
  const id = 'ab'.repeat(32);
  const sub = node(`/tinyctr/${id}/sub`, { 'pids.current': 1 }, { processes: [{ pid: 8, name: 'sh' }] });
  const limited = { 'memory.max': 33_554_432, 'memory.current': 33_554_432, 'cpu.max': 'max 100000' };
  const one = node(`/tinyctr/${id}`, limited, { title: 'web', children: [sub] });
  const processes = [1, 2, 3, 4, 5].map((pid) => ({ pid, name: 'x' }));
  const two = node('/tinyctr/limit-1', { 'cpu.weight': 100 }, { processes });
  const tree = node('/tinyctr', {}, { children: [one, two] });
  expect(drawTree(tree, false).join('\n')).toBe(`/tinyctr
│
├─ abababababab  web
│  │ memory.max          32 MiB              above it the kernel kills
│  │ memory.current      32 MiB [########]   in use now, with file caches
│  │
│  └─ sub  sh 8
│       pids.current        1                   processes and threads now
│
└─ limit-1  x 1, x 2, x 3, 2 more`);
  const all = drawTree(tree, true);
  expect(all).toContain('│  │ cpu.max             no limit            time in each period: quota');
  for (const line of all) expect(line.length).toBeLessThanOrEqual(80);
});

it('says which controllers are missing, and where they are', () => {
  expect(controllerLines({ present: ['cpu'], missing: {} })).toEqual([]);
  const lines = controllerLines({ present: [], missing: { memory: '/sys/fs/cgroup/memory', io: undefined } });
  expect(lines.join('\n')).toBe(`Not in this hierarchy: memory, io
  memory   bound to cgroup v1 at /sys/fs/cgroup/memory
  io       not in this kernel, or not handed on to here
  To have them here: boot with cgroup_no_v1=all.`);
});
