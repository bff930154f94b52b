/** What compare makes of facts: differences, those that docs/differences.md explains, and the probe's lines. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compareFacts, type Fact } from '../../../src/workshop/compare/facts.ts';
import { parseProbe } from '../../../src/workshop/compare/inside.ts';
import { explain, parseKnown } from '../../../src/workshop/compare/known.ts';

const fact = (subject: string, value: string): Fact => ({ group: 'g', subject, value });

test('facts that differ, and that one side alone has', () => {
  const ours = [fact('a', '1'), fact('b', '2'), fact('c', '3')];
  const theirs = [fact('d', '4'), fact('b', '5'), fact('a', '1')];
  expect(compareFacts(ours, theirs)).toEqual({
    differences: [
      { group: 'g', subject: 'b', ours: '2', theirs: '5' },
      { group: 'g', subject: 'c', ours: '3', theirs: undefined },
      { group: 'g', subject: 'd', ours: undefined, theirs: '4' },
    ],
    equal: { g: 1 },
  });
});

const page = `# x

- \`key\`: text

## Seen by tinyctr compare

| Subject | tinyctr-oci | the other | runtime | why |
| ------- | --- | --- | --- | --- |
| \`a\`   | \`1\` | none | runc, crun | because \\| so |
| \`b\`, \`d: e\` | \`*\` | \`2\` | crun | any |

## Another

| \`c\` | \`1\` | \`2\` | runc | not of the table |
`;

test('a difference is explained by the exact subject, values and runtime', () => {
  const known = parseKnown(page);
  expect(known.map(({ subject }) => subject)).toEqual(['a', 'b', 'd: e']);
  const explained = (subject: string, ours: string | undefined, theirs: string | undefined, runtime: string) =>
    explain([{ group: 'g', subject, ours, theirs }], known, runtime)[0]!.explained;
  expect(explained('a', '1', undefined, 'runc')).toBe('because | so');
  expect(explained('a', '2', undefined, 'runc')).toBeUndefined();
  expect(explained('a', '1', '1', 'runc')).toBeUndefined();
  expect(explained('a', '1', undefined, 'youki')).toBeUndefined();
  expect(explained('b', 'whatever', '2', 'crun')).toBe('any');
  expect(explained('b', 'whatever', '3', 'crun')).toBeUndefined();
  expect(explained('c', '1', '2', 'runc')).toBeUndefined();
});

test('every row of docs/differences.md is whole', () => {
  const known = parseKnown(readFileSync('docs/differences.md', 'utf8'));
  expect(known.length).toBeGreaterThan(10);
  for (const { subject, runtimes, why } of known) {
    expect(subject).not.toMatch(/[`*]/);
    expect(
      runtimes.every((name) => ['runc', 'crun'].includes(name)),
      subject,
    ).toBe(true);
    expect(why.length, subject).toBeGreaterThan(20);
  }
  const keys = known.map(({ subject, ours, theirs, runtimes }) => [subject, ours, theirs, ...runtimes].join(' '));
  expect(new Set(keys).size).toBe(keys.length);
});

test('the probe’s lines: errnos by name, what could not be found out is said', () => {
  const lines = [
    ...['uid\t0', 'umask\t18', 'groups\t10 2 ', 'controlling terminal\t-6', 'tasks\t-2', 'calls\t0'],
    ...['r /proc/kcore\t0 read 0', 'r /sys\t0 entries 9', 'w /proc/sys\t-30', 'o /.tinyctr-compare/dev/c-1-3\t0'],
    ...['c /proc/sys/kernel/sem\t=1\t2 ', 'c /proc/sys/net/x\t-13', 'call acct\tkilled 31', 'call bpf\t-1'],
    ...['call mount\tno child -11', 'call read\t0'],
  ];
  const { facts, whole, notes } = parseProbe(lines.join('\r\n'), (text) => text);
  expect(whole).toBe(false);
  expect(notes).toEqual([
    'the probe could not read its list of paths: ENOENT',
    '1 system calls could not be tried: the probe may have no child (EAGAIN)',
  ]);
  expect(facts.map(({ subject, value }) => [subject, value])).toEqual([
    ...[
      ['uid', '0'],
      ['umask', '0022'],
      ['groups', '2 10'],
      ['controlling terminal', 'none (ENXIO)'],
    ],
    ...[
      ['path /proc/kcore: read', 'empty'],
      ['path /sys: read', 'a folder'],
      ['path /proc/sys: write', 'EROFS'],
    ],
    ...[
      ['device c 1 3: read', 'opens'],
      ['sysctl kernel.sem', '1 2'],
      ['sysctl net.x', 'EACCES'],
    ],
    ...[
      ['call acct', 'killed by signal 31'],
      ['call bpf', 'EPERM'],
      ['call mount', 'no child: EAGAIN'],
      ['call read', 'succeeds'],
    ],
  ]);
  expect(parseProbe('end\t0\n', (text) => text).whole).toBe(true);
});
