import { expect, test } from 'vitest';
import { formatTrace, Table, type TraceLine } from '../../../src/workshop/trace-format.ts';

const host = { side: 'host', step: undefined, frame: undefined, words: undefined, namespaces: {} } as const;
const born = { mnt: 4026532001, pid: 4026532002 };
const more = { ...born, cgroup: 0 };
const stage = { side: 'stage', step: 'namespaces.cgroup', frame: 2, atMs: 10, ms: 0.25 } as const;
const lines: TraceLine[] = [
  {
    ...host,
    atMs: 1.5,
    name: 'bpf',
    call: 'bpf(BPF_PROG_LOAD, {})',
    words: ['deny read: any device'],
    result: 7,
    ms: 0.1,
  },
  { ...host, atMs: 2, name: 'clone3', call: 'clone3({flags=CLONE_NEWNS})', result: 400, ms: 0.5 },
  { ...stage, name: 'close', call: 'close(3)', result: -9, namespaces: born },
  { ...stage, name: 'unshare', call: 'unshare(CLONE_NEWCGROUP)', result: 0, namespaces: more },
  { ...stage, step: 'mount "x"', frame: 3, name: 'chdir', call: 'chdir("/a \\"b\\"")', result: null, namespaces: more },
];

const table = `      at ms        ms  call
-- host
      1.500     0.100  bpf(BPF_PROG_LOAD, {}) = 7
                         deny read: any device
      2.000     0.500  clone3({flags=CLONE_NEWNS}) = 400
-- stage: namespaces.cgroup  [mnt:4026532001 pid:4026532002]
     10.000            close(3) = -1 EBADF
-- stage: namespaces.cgroup  [mnt:4026532001 pid:4026532002 cgroup:?]
     10.000     0.250  unshare(CLONE_NEWCGROUP) = 0
-- stage: mount "x"  [mnt pid cgroup]
     10.000     0.250  chdir("/a \\"b\\"") = ?
5 calls: 2 of the host, 3 of the stage in 3 frames
`;

test('a frame’s duration stands at its last call, namespaces with numbers where they changed', () => {
  expect(formatTrace(lines)).toBe(table);
});

test('the table part by part is the table of the whole', () => {
  const parts = new Table();
  expect(parts.rows(lines.slice(0, 1)) + parts.rows(lines.slice(1, 4)) + parts.rows(lines.slice(4)) + parts.end()).toBe(
    table,
  );
});
