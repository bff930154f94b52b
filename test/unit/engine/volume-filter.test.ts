import { describe, expect, it } from 'vitest';
import { listFilter, pruneFilter, type UsedVolume } from '../../../src/engine/volume-filter.ts';
import { problemOf } from './support.ts';

const volume = (name: string, more: Partial<UsedVolume> = {}): UsedVolume => ({
  ...{ name, created: '2026-01-31T12:00:00Z', labels: null, mountpoint: `/v/${name}/_data`, users: [] },
  ...more,
});
const all = [
  volume('data', { labels: { k: 'v', only: '' } }),
  volume('database', { labels: { k: 'w' }, users: ['c'] }),
  volume('other', { users: ['c', 'd'] }),
];
const names = (volumes: readonly UsedVolume[]) => volumes.map(({ name }) => name).join(' ');

describe('volume ls --filter', () => {
  it.each([
    [[], 'data database other'],
    [['name=data'], 'data database'],
    [['name=^data$'], 'data'],
    [['name=data', 'name=oth'], 'data database other'],
    [['name=data', 'dangling=true'], 'data'],
    [['dangling=true'], 'data'],
    [['dangling=1'], 'data'],
    [['dangling=false'], 'database other'],
    [['label=k'], 'data database'],
    [['label=k=w'], 'database'],
    [['label=only'], 'data'],
    [['label=toString'], ''],
    [['driver=local'], 'data database other'],
    [['driver=nfs'], ''],
  ])('%j', (filters, expected) => {
    expect(names(all.filter(listFilter(filters)))).toBe(expected);
  });

  it.each([
    ['size=3', 'give name=…, label=…, driver=…, dangling=…'],
    ['name', 'is not understood'],
    ['toString=1', 'is not understood'],
    ['dangling=maybe', 'dangling is true or false'],
    ['name=(', 'no regular expression'],
  ])('%s is refused', (filter, reason) => {
    expect(problemOf(() => listFilter([filter]))).toContain(reason);
  });
});

describe('volume prune --filter', () => {
  it.each([
    [['label=k'], 'data database'],
    [['label=k', 'label=only'], 'data'],
    [['label!=k'], 'other'],
    [['label!=k=v'], 'database other'],
  ])('%j', (filters, expected) => {
    expect(names(all.filter(pruneFilter(filters)))).toBe(expected);
  });

  it('until= is refused: volumes are of no age', () => {
    expect(problemOf(() => pruneFilter(['until=1h']))).toContain('give label=…, label!=…');
  });
});
