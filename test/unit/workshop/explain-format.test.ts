import { expect, test } from 'vitest';
import type { ExplainedStep } from '../../../src/workshop/explain.ts';
import { formatExplanation } from '../../../src/workshop/explain-format.ts';

const why =
  'a reason that is long enough to go on in a second line, because a line of the terminal has 110 columns and no more of them';
const steps: ExplainedStep[] = [
  { phase: 'host', id: 'host.cgroup', why: 'first', see: [], calls: [{ text: 'mkdir("/c", 0777)' }] },
  {
    phase: 'init',
    id: 'rootfs.pivot',
    why,
    without: 'nothing holds',
    see: ['pivot_root(2)', 'CVE-2024-21626'],
    calls: [{ text: 'pivot_root(".", ".") = 0', name: 'pivot_root', args: ['.', '.'], result: 0 }],
  },
  {
    phase: 'last frame',
    id: 'gate',
    why: 'it waits',
    see: [],
    calls: [{ text: 'openat2(8, "4") = ?', name: 'openat2', args: [8, '4'], result: undefined, last: true }],
  },
];

test('text: a heading a phase, numbers through all of them, reasons wrapped', () => {
  expect(formatExplanation('text', 'tinyctr run busybox', steps)).toBe(`tinyctr run busybox

On the host: a cgroup, and a process in new namespaces
======================================================

1. host.cgroup
   why      first
     mkdir("/c", 0777)

In the container that is being built: its first process makes the calls
=======================================================================

2. rootfs.pivot
   why      a reason that is long enough to go on in a second line, because a line of the terminal has 110
            columns and no more of them
   without  nothing holds
   see      pivot_root(2), CVE-2024-21626
     pivot_root(".", ".") = 0

The last frame: sent as one piece, from root with everything to the user with little
====================================================================================

3. gate
   why      it waits
     openat2(8, "4") = ?

3 steps, 3 calls. Nothing of it was done.
`);
});

test('markdown: the same, with calls as code', () => {
  const text = formatExplanation('markdown', 'tinyctr run busybox', steps);
  expect(text).toContain(
    '# tinyctr run busybox\n\n## On the host: a cgroup, and a process in new namespaces\n\n### 1. host.cgroup\n',
  );
  expect(text).toContain(
    'Without it: nothing holds.\n\nSee: pivot_root(2), CVE-2024-21626.\n\n```c\npivot_root(".", ".") = 0\n```\n',
  );
  expect(text.endsWith('\n3 steps, 3 calls. Nothing of it was done.\n')).toBe(true);
});

test('json: all of it, a result that nobody knows is null, CVEs apart', () => {
  expect(JSON.parse(formatExplanation('json', 'title', steps))).toEqual({
    title: 'title',
    steps: [
      { phase: 'host', id: 'host.cgroup', why: 'first', see: [], cve: [], calls: [{ call: 'mkdir("/c", 0777)' }] },
      {
        phase: 'init',
        id: 'rootfs.pivot',
        why,
        without: 'nothing holds',
        see: ['pivot_root(2)', 'CVE-2024-21626'],
        cve: ['CVE-2024-21626'],
        calls: [{ call: 'pivot_root(".", ".") = 0', name: 'pivot_root', result: 0 }],
      },
      {
        phase: 'last frame',
        id: 'gate',
        why: 'it waits',
        see: [],
        cve: [],
        calls: [{ call: 'openat2(8, "4") = ?', name: 'openat2', result: null, last: true }],
      },
    ],
  });
});
