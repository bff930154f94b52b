import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CgroupFile } from '../../../src/core/plan/plan.ts';
import { factsOf, readHits, readUse, sizeInWords } from '../../../src/engine/hits.ts';

const MIB = 2 ** 20;
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/tinyctr-hits-`);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The files of a cgroup as the kernel writes them. */
const cgroup = (files: Record<string, string>) => {
  for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text);
};
const written = (files: Record<string, string>): CgroupFile[] =>
  Object.entries(files).map(([file, value]) => ({ controller: file.split('.')[0]!, file, value, option: '' }));
const texts = (files: Record<string, string>, exitCode: number, everything = false) =>
  readHits(folder, written(files), exitCode, everything).map(({ text }) => text);

const memory = { 'memory.max': String(32 * MIB) };
const events = (oom: number, kills: number) =>
  `low 0\nhigh 0\nmax 40\noom ${oom}\noom_kill ${kills}\noom_group_kill 0\n`;

describe('memory', () => {
  it('tells who was killed, for which limit, and the peak', () => {
    cgroup({ 'memory.events': events(1, 1), 'memory.events.local': events(1, 1), 'memory.peak': `${32 * MIB}\n` });
    expect(texts(memory, 137)).toEqual(['killed by the kernel: memory limit 32 MiB reached, peak 32 MiB']);
    expect(texts(memory, 1)).toEqual(['the kernel killed 1 process: memory limit 32 MiB reached, peak 32 MiB']);
  });

  it('does without memory.peak, which kernels before 5.19 have not', () => {
    cgroup({ 'memory.events': events(2, 2), 'memory.events.local': events(2, 2) });
    expect(texts(memory, 0)).toEqual(['the kernel killed 2 processes: memory limit 32 MiB reached']);
  });

  it('knows a limit below from one above', () => {
    cgroup({ 'memory.events': events(1, 1), 'memory.events.local': events(0, 0) });
    expect(texts(memory, 0)[0]).toContain('the memory limit of a cgroup below it reached');
    cgroup({ 'memory.events': events(0, 1), 'memory.events.local': events(0, 1) });
    expect(texts({}, 137)[0]).toContain('by the limit of a cgroup above it or the machine’s');
  });

  it('says nothing of a limit that was only met, nor of a kill by somebody else', () => {
    cgroup({ 'memory.events': events(0, 0) });
    expect(texts(memory, 137)).toEqual([]);
  });

  it('needs no file where the controller is not', () => {
    expect(texts({}, 137)).toEqual([]);
    expect(texts(memory, 0)).toEqual([]);
  });

  it('gives the numbers', () => {
    cgroup({ 'memory.events': events(1, 1), 'memory.events.local': events(1, 1), 'memory.peak': '100\n' });
    const hits = readHits(folder, written(memory), 137);
    expect(hits[0]).toMatchObject({ limit: 'memory', facts: { memoryLimit: 32 * MIB, memoryPeak: 100, oomKills: 1 } });
    expect(factsOf(hits)).toEqual({ memory: hits[0]!.facts });
    expect(factsOf([])).toEqual({});
  });
});

describe('processes', () => {
  it('counts the refusals', () => {
    cgroup({ 'pids.events': 'max 12\n' });
    expect(texts({ 'pids.max': '100' }, 0)).toEqual(['12 times a process was refused: limit 100']);
    cgroup({ 'pids.events': 'max 1\n' });
    expect(texts({ 'pids.max': '100' }, 0)).toEqual(['once a process was refused: limit 100']);
    cgroup({ 'pids.events': 'max 0\n' });
    expect(texts({ 'pids.max': '100' }, 0)).toEqual([]);
  });
});

describe('processors', () => {
  const stat = (periods: number, throttled: number, us = 2_900_000) =>
    cgroup({ 'cpu.stat': `usage_usec 1\nnr_periods ${periods}\nnr_throttled ${throttled}\nthrottled_usec ${us}\n` });
  const half = { 'cpu.max': '50000 100000' };

  it('tells of throttling in more than half of the periods that took a second or more', () => {
    stat(62, 58);
    expect(texts(half, 0)).toEqual(['throttled in 58 of 62 periods, 2.9 s in all: limit 0.5 CPUs']);
    stat(62, 31);
    expect(texts(half, 0)).toEqual([]);
    stat(9, 9, 999_999);
    expect(texts(half, 0)).toEqual([]);
  });

  it('tells of any with everything', () => {
    stat(9, 1, 10);
    expect(texts(half, 0, true)).toHaveLength(1);
    stat(9, 0);
    expect(texts(half, 0, true)).toEqual([]);
  });
});

it('use is what the kernel counts', () => {
  cgroup({ 'cpu.stat': 'usage_usec 1234567\n' });
  expect(readUse(folder)).toBe('1.23 s of CPU time');
  cgroup({ 'memory.peak': `${3 * MIB}\n`, 'pids.peak': '1\n' });
  expect(readUse(folder)).toBe('1.23 s of CPU time, 3 MiB of memory at most, 1 process at most');
});

it.each([
  [0, '0 bytes'],
  [1023, '1023 bytes'],
  [1536, '1.5 KiB'],
  [32 * MIB, '32 MiB'],
  [33_550_336, '32 MiB'],
  [2 ** 42, '4 TiB'],
  [2 ** 52, '4096 TiB'],
])('%d is %s', (bytes, text) => {
  expect(sizeInWords(bytes)).toBe(text);
});
