import { expect, test } from 'vitest';
import * as k from '../../../src/core/kernel/constants.ts';
import { type SyscallName, syscallNumbers } from '../../../src/core/kernel/syscalls.ts';
import { type Arg, encodeFrame } from '../../../src/core/stage/protocol.ts';
import { readTrace, TraceReader } from '../../../src/workshop/trace-read.ts';

const head = '{"trace":"tinyctr","format":2,"arch":"x64"}';
const numberOf = syscallNumbers('x64');

function frame(calls: readonly [SyscallName, Arg[]][], more: Record<string, unknown>): string {
  const wire = calls.map(([name, args]) => ({ nr: numberOf(name), args, tolerated: [] }));
  const text = encodeFrame(wire, 0).bytes.toString('base64');
  return JSON.stringify({ frame: 2, at: 10000, took: 250, calls: text, ...more });
}

const spawned = `{"host":"tinyctr_spawn","at":2000,"took":500,"result":400,"args":[${k.CLONE_NEWNS | k.CLONE_NEWNET},-1,9,{"numbers":[0]},5,{"numbers":[7]}],"namespaces":{"mnt":11,"net":12}}`;

test('both sides in words, microseconds as milliseconds, failures with their errno', () => {
  const text = [
    head,
    `{"host":"tinyctr_syscall","at":98,"took":43,"result":-25,"args":[${numberOf('ioctl')},16,${k.TCGETS},{"length":64},0,0,0]}`,
    '{"node":"writeFileSync","at":150,"took":1,"result":0,"args":["/sys/fs/cgroup/x/pids.max","7"]}',
    '{"node":"writeFileSync","at":160,"took":1,"result":0,"args":["/run/x",{"length":205}]}',
    '{"node":"mkdirSync","at":200,"took":2,"result":-17,"args":["/run/y",448]}',
    '{"node":"openSync","at":210,"took":2,"result":5,"args":["/run/z","w",384]}',
    spawned,
    frame(
      [
        ['chdir', ['/a']],
        ['close', [3]],
      ],
      { steps: [['root', 1], ['end', 1]], results: [0, -9] }, // biome-ignore format: a pair a step
    ),
  ];
  const { lines, cut } = readTrace(`${text.join('\n')}\n`);
  expect(cut).toBe(false);
  const host = { side: 'host', namespaces: {} };
  const born = { mnt: 11, net: 12 };
  const stage = { side: 'stage', atMs: 10, ms: 0.25, frame: 2, namespaces: born };
  expect(lines).toEqual([
    { ...host, atMs: 0.098, ms: 0.043, name: 'ioctl', call: 'ioctl(16, TCGETS, [64 bytes])', result: -25 },
    { ...host, atMs: 0.15, ms: 0.001, name: 'write', call: 'write("/sys/fs/cgroup/x/pids.max", "7")', result: 0 },
    { ...host, atMs: 0.16, ms: 0.001, name: 'write', call: 'write("/run/x", [205 bytes])', result: 0 },
    { ...host, atMs: 0.2, ms: 0.002, name: 'mkdir', call: 'mkdir("/run/y", 0700)', result: -17 },
    {
      ...host,
      atMs: 0.21,
      ms: 0.002,
      name: 'openat',
      call: 'openat(AT_FDCWD, "/run/z", O_WRONLY|O_CREAT|O_TRUNC, 0600)',
      result: 5,
    },
    {
      ...host,
      atMs: 2,
      ms: 0.5,
      name: 'clone3',
      call: 'clone3({flags=CLONE_NEWNET|CLONE_NEWNS|CLONE_PIDFD|CLONE_VFORK|CLONE_VM|CLONE_CLEAR_SIGHAND})',
      result: 400,
    },
    { ...stage, step: 'root', name: 'chdir', call: 'chdir("/a")', result: 0 },
    { ...stage, step: 'end', name: 'close', call: 'close(3)', result: -9 },
  ]);
});

test('namespaces are those of the moment: nobody knows the one that was left again before anybody looked', () => {
  const calls: [SyscallName, Arg[]][] = [
    ['getpid', []],
    ['unshare', [k.CLONE_NEWCGROUP]],
    ['setns', [5, k.CLONE_NEWNET]],
    ['unshare', [k.CLONE_NEWCGROUP | k.CLONE_NEWUTS]],
    ['unshare', [k.CLONE_NEWIPC]],
  ];
  const changed = { cgroup: 21, net: null, uts: 22 };
  const record = frame(calls, { steps: [['s', 5]], results: [1, 0, 0, 0, -1], namespaces: changed });
  const { lines } = readTrace([head, spawned, record, ''].join('\n'));
  expect(lines.slice(1).map(({ namespaces }) => namespaces)).toEqual([
    { mnt: 11, net: 12 },
    { mnt: 11, net: 12, cgroup: 0 },
    { mnt: 11, cgroup: 0 },
    { mnt: 11, uts: 22, cgroup: 21 },
    { mnt: 11, uts: 22, cgroup: 21 },
  ]);
});

test('records read one by one are those of the whole; a last one that is cut off is left away', () => {
  const reader = new TraceReader();
  const { lines, cut } = readTrace(`${head}\n${spawned}\n${spawned.slice(0, 40)}`);
  expect(cut).toBe(true);
  expect([...reader.read(`${head}\n`), ...reader.read(`${spawned}\n`)]).toEqual(lines);
});

test.each([
  ['', 'it is no trace of tinyctr’s'],
  ['hello\n', 'it is no trace of tinyctr’s'],
  ['{"a":1}\n', 'it is no trace of tinyctr’s'],
  ['null\n', 'it is no trace of tinyctr’s'],
  ['{"side":"host","atMs":1,"call":"x()","ms":1}\n', 'an older tinyctr has written it'],
  ['{"trace":"tinyctr","format":3,"arch":"x64"}\n', 'it is of format 3, which another tinyctr has written'],
  [`${head}\n{}\n`, 'line 2 is no record of a trace'],
  [`${head}\n${spawned}\n{"node":"mkdirSync"\n`, 'line 3 is no record of a trace'],
  [`${head}\n{"node":"evalSync","at":1,"took":1,"result":0,"args":[]}\n`, 'line 2 is no record of a trace'],
  [`${head}\n{"frame":1,"at":1,"took":1,"steps":[],"results":[0],"calls":"AAAA"}\n`, 'line 2 is no record of a trace'],
  [`${head}\n{"host":"tinyctr_spawn","at":"x","took":1,"result":0,"args":[1,1]}\n`, 'line 2 is no record of a trace'],
])('%j is refused', (text, message) => {
  expect(() => readTrace(text)).toThrow(message);
});
