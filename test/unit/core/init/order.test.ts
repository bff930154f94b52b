/** Where the order of the calls is security: each test names what would be open otherwise. */
import { describe, expect, test } from 'vitest';
import * as k from '../../../../src/core/kernel/constants.ts';
import type { Plan } from '../../../../src/core/plan/plan.ts';
import type { HostFd } from '../../../../src/core/stage/stage.ts';
import { type RecordedCall, textOf } from '../../../../src/workshop/world.ts';
import { record, type Wanted } from './support.ts';

const callsOf = (wanted?: Wanted): readonly RecordedCall[] => {
  const { calls, error } = record(wanted);
  expect(error).toBeUndefined();
  return calls;
};
const isPrctl = (option: number) => (call: RecordedCall) => call.name === 'prctl' && call.args[0] === option;
const named = (name: string) => (call: RecordedCall) => call.name === name;

/** Positions of all calls that fit; at least one. */
function positions(calls: readonly RecordedCall[], fits: (call: RecordedCall) => boolean): number[] {
  const found = calls.flatMap((call, i) => (fits(call) ? [i] : []));
  expect(found.length).toBeGreaterThan(0);
  return found;
}
const first = (calls: readonly RecordedCall[], fits: (call: RecordedCall) => boolean) => positions(calls, fits)[0]!;
const last = (calls: readonly RecordedCall[], fits: (call: RecordedCall) => boolean) => positions(calls, fits).at(-1)!;

const withPrivileges = (noNewPrivileges: boolean): Wanted => ({
  change: (plan): Plan => ({ ...plan, process: { ...plan.process, noNewPrivileges } }),
});

describe('before anything of the container can act', () => {
  test('the stage is not dumpable from its first call on (SEC-21)', () => {
    const [call] = callsOf();
    expect([call!.name, ...call!.args.slice(0, 2)]).toEqual(['prctl', k.PR_SET_DUMPABLE, 0]);
  });

  test('a joined namespace is entered after that', () => {
    const join = [{ type: 'ipc', flag: k.CLONE_NEWIPC, path: '/proc/1/ns/ipc', specPointer: '' }];
    const calls = callsOf({ change: (plan) => ({ ...plan, namespaces: { ...plan.namespaces, join } }) });
    const entered = calls[first(calls, named('setns'))]!;
    expect(entered.args[1]).toBe(k.CLONE_NEWIPC);
    expect(first(calls, named('setns'))).toBeGreaterThan(first(calls, isPrctl(k.PR_SET_DUMPABLE)));
  });

  test('a joined pid namespace is not entered again: the process was born in it', () => {
    const join = [
      { type: 'pid', flag: k.CLONE_NEWPID, path: '/proc/1/ns/pid', specPointer: '' },
      { type: 'network', flag: k.CLONE_NEWNET, path: '/proc/1/ns/net', specPointer: '' },
    ];
    const calls = callsOf({ change: (plan) => ({ ...plan, namespaces: { ...plan.namespaces, join } }) });
    const entered = calls.filter(named('setns'));
    expect(entered.map((call) => call.args[1])).toEqual([k.CLONE_NEWNET]);
    expect(entered[0]!.args[0]).toBe(5); // the second of the descriptors that were received
  });
});

describe('mounts', () => {
  const bound: Wanted = { options: { volume: ['/data:/data'] } };
  const isPropagation = (call: RecordedCall) => call.name === 'mount' && call.args[3] === (k.MS_SLAVE | k.MS_REC);
  const attaches = (call: RecordedCall) => call.name === 'move_mount' || call.name === 'pivot_root';

  test('what comes from the host is opened before the first mount of the container', () => {
    const calls = callsOf(bound);
    const opened = (call: RecordedCall) => call.name === 'open_tree' && call.args[0] === k.AT_FDCWD;
    expect(positions(calls, opened).map((i) => textOf(calls[i]!, 1))).toContain('/data');
    expect(last(calls, opened)).toBeLessThan(first(calls, isPropagation));
    expect(last(calls, opened)).toBeLessThan(first(calls, attaches));
  });

  test('nothing is mounted before propagation to the host is off', () => {
    const calls = callsOf(bound);
    const mounts = (call: RecordedCall) => attaches(call) || (call.name === 'mount' && !isPropagation(call));
    expect(first(calls, isPropagation)).toBeLessThan(first(calls, mounts));
    expect(textOf(calls[first(calls, isPropagation)]!, 1)).toBe('/');
  });

  test('hooks come when all is mounted and every call is done, but before settings, masks and pivot_root', () => {
    let before: string[] = [];
    const calls = callsOf({
      watch: false,
      options: { sysctl: ['net.ipv4.ip_forward=1'] },
      mounted: (soFar) => (before = soFar.map(({ name }) => name)),
    });
    const after = calls.slice(before.length).map(({ name }) => name);
    expect(before.filter((name) => name === 'fsmount').length).toBeGreaterThan(5);
    expect(before).toContain('mknodat');
    for (const name of ['pivot_root', 'setresuid', 'execve']) {
      expect(before).not.toContain(name);
      expect(after).toContain(name);
    }
    const settings = calls.findIndex((call) => call.name === 'openat2' && textOf(call, 1).startsWith('sys/net'));
    expect(settings).toBeGreaterThan(before.length);
  });

  test('masks and read-only paths come before the root is entered, the host goes at once', () => {
    const calls = callsOf(bound);
    const names = calls.map((call) => call.name);
    expect(last(calls, named('move_mount'))).toBeLessThan(first(calls, named('pivot_root')));
    const pivot = first(calls, named('pivot_root'));
    expect(names.slice(pivot - 1, pivot + 3)).toEqual(['fchdir', 'pivot_root', 'umount2', 'chdir']);
    expect(calls[pivot + 1]!.args[1]).toBe(k.MNT_DETACH);
  });

  test('the root becomes read-only when nothing more is made in it, before the command runs', () => {
    const calls = callsOf({ options: { readOnly: true } });
    const makes = (call: RecordedCall) => ['mkdirat', 'mknodat', 'symlinkat'].includes(call.name);
    const pivot = first(calls, named('pivot_root'));
    const set = (call: RecordedCall) =>
      call.name === 'mount_setattr' && call.memory.get(3)!.readUInt32LE(0) === k.MOUNT_ATTR_RDONLY;
    expect(last(calls, set)).toBeGreaterThan(pivot);
    expect(last(calls, makes)).toBeLessThan(last(calls, set));
  });
});

describe('the last frame', () => {
  const ordered = (calls: readonly RecordedCall[], ...fits: ((call: RecordedCall) => boolean)[]) => {
    const at = fits.map((fit) => last(calls, fit));
    expect(at).toEqual([...at].sort((a, b) => a - b));
  };
  const endsAs = (uid: number) => (call: RecordedCall) => call.name === 'setresuid' && call.args[0] === uid;

  test.each([true, false])('goes as one frame, no_new_privs %s', (noNewPrivileges) => {
    const calls = callsOf({ ...withPrivileges(noNewPrivileges), watch: false });
    const held = calls.filter((call) => call.frame === calls.at(-1)!.frame).map((call) => call.name);
    expect(held.slice(0, 1)).toEqual(['prctl']);
    for (const name of ['setresuid', 'close_range', 'capset', 'seccomp', 'execve']) expect(held).toContain(name);
  });

  test('with no_new_privs: bounding, identity, descriptors, no_new_privs, capabilities, filter, exec', () => {
    const calls = callsOf(withPrivileges(true));
    ordered(
      calls,
      isPrctl(k.PR_CAPBSET_DROP),
      isPrctl(k.PR_SET_KEEPCAPS),
      named('setresgid'),
      named('setgroups'),
      endsAs(0),
      isPrctl(k.PR_SET_PDEATHSIG),
      named('close_range'),
      isPrctl(k.PR_SET_NO_NEW_PRIVS),
      named('capset'),
      isPrctl(k.PR_CAP_AMBIENT),
      named('seccomp'),
      named('execve'),
    );
    expect(calls.filter(named('capset'))).toHaveLength(1);
  });

  test('without: the filter is loaded while CAP_SYS_ADMIN is there, the last capset takes it', () => {
    const calls = callsOf(withPrivileges(false));
    expect(calls.some(isPrctl(k.PR_SET_NO_NEW_PRIVS))).toBe(false);
    ordered(
      calls,
      isPrctl(k.PR_CAPBSET_DROP),
      endsAs(0),
      named('close_range'),
      named('seccomp'),
      named('capset'),
      named('execve'),
    );
    const [before, after] = calls.filter(named('capset'));
    const admin = 1 << 21;
    expect(calls.indexOf(before!)).toBeLessThan(first(calls, named('seccomp')));
    expect(before!.memory.get(1)!.readUInt32LE(0)).toBe(admin);
    const sets = [0, 4, 8].map((at) => after!.memory.get(1)!.readUInt32LE(at));
    expect(sets.map((set) => set & admin)).toEqual([0, 0, 0]);
    expect(sets).toEqual([0xa80425fb, 0xa80425fb, 0]); // docker's fourteen; inheritable empty (SEC-09)
  });

  test('the bounding set loses all but docker’s fourteen', () => {
    const dropped = callsOf()
      .filter(isPrctl(k.PR_CAPBSET_DROP))
      .map((call) => call.args[1]);
    const kept = Array.from({ length: 41 }, (_, i) => i).filter((i) => !dropped.includes(i));
    expect(kept).toEqual([0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]);
  });

  test('ambient capabilities are cleared, and raised only after the set that permits them', () => {
    const net = 1n << 12n;
    const calls = callsOf({
      change: (plan) => {
        const { capabilities } = plan.process;
        const all = { ...capabilities, permitted: net, inheritable: net, ambient: net };
        return { ...plan, process: { ...plan.process, capabilities: all } };
      },
    });
    const ambient = calls.filter(isPrctl(k.PR_CAP_AMBIENT)).map((call) => call.args.slice(1, 3));
    expect(ambient).toEqual([
      [k.PR_CAP_AMBIENT_CLEAR_ALL, 0],
      [k.PR_CAP_AMBIENT_RAISE, 12],
    ]);
    ordered(calls, named('capset'), isPrctl(k.PR_CAP_AMBIENT), named('execve'));
  });

  test('descriptors from 3 on are closed by the exec, and nothing is opened afterwards (SEC-02)', () => {
    const calls = callsOf();
    const at = first(calls, named('close_range'));
    expect(calls[at]!.args.slice(0, 3)).toEqual([3, 0xffffffff, k.CLOSE_RANGE_CLOEXEC]);
    const after = calls.slice(at).map((call) => call.name);
    expect(new Set(after)).toEqual(new Set(['close_range', 'capset', 'seccomp', 'prctl', 'execve']));
  });

  test('no filter, no call', () => {
    const calls = callsOf({ options: { securityOpt: ['seccomp=unconfined'] } });
    expect(calls.some(named('seccomp'))).toBe(false);
    expect(calls.filter(named('capset'))).toHaveLength(1);
  });

  test('the mask is 0 while files are made, and the user’s before the exec', () => {
    const masks = callsOf()
      .filter(named('umask'))
      .map((call) => call.args[0]);
    expect(masks).toEqual([0, 0o022]);
  });

  test('the parent-death signal comes after the change of user, which clears it', () => {
    const calls = callsOf({ options: { user: 'anna' } });
    expect(last(calls, isPrctl(k.PR_SET_PDEATHSIG))).toBeGreaterThan(last(calls, endsAs(1000)));
    expect(calls[last(calls, isPrctl(k.PR_SET_PDEATHSIG))]!.args[1]).toBe(9);
  });
});

describe('who the process is', () => {
  test('user and groups are those of the container’s files', () => {
    const calls = callsOf({ options: { user: 'anna', groupAdd: ['audio', '77'] } });
    expect(calls.find(named('setresgid'))!.args.slice(0, 3)).toEqual([1000, 1000, 1000]);
    expect(calls.find(named('setresuid'))!.args.slice(0, 3)).toEqual([1000, 1000, 1000]);
    const { args, memory } = calls.find(named('setgroups'))!;
    const gids = Array.from({ length: args[0]! }, (_, i) => memory.get(1)!.readUInt32LE(4 * i));
    expect(gids).toEqual([1000, 10, 29, 77]);
  });

  test('pipes become the user’s, files and terminals of the caller do not', () => {
    const calls = callsOf({ options: { user: 'anna' }, pipes: [0, 2] });
    const owned = calls.filter(named('fchownat')).map((call) => call.args.slice(0, 4));
    expect(owned).toEqual([
      [0, 0, 1000, -1],
      [2, 0, 1000, -1],
    ]);
  });

  test('the terminal is the container’s own, its master goes to the host', () => {
    const { calls, stage, error } = record({ terminal: true, options: { user: 'anna' } });
    expect(error).toBeUndefined();
    ordered(calls, ['setsid', 'fchownat', 'dup3', 'ioctl']);
    expect(stage.received).toHaveLength(1);
    const requests = calls.filter(named('ioctl')).map((call) => call.args[1]);
    expect(requests).toEqual([k.TIOCSPTLCK, k.TIOCSWINSZ, k.TIOCGPTPEER, k.SIOCSIFFLAGS, k.TIOCSCTTY]);
    expect(calls.filter(named('dup3')).map((call) => call.args[1])).toEqual([0, 1, 2]);
  });

  function ordered(calls: readonly RecordedCall[], names: string[]): void {
    const at = names.map((name) => last(calls, named(name)));
    expect(at).toEqual([...at].sort((a, b) => a - b));
  }

  test('with an init program that one is executed, from its descriptor', () => {
    const calls = callsOf({ options: { init: true }, initFd: 55 as HostFd });
    const { name, args, memory } = calls.at(-1)!;
    expect([name, args[0], args[4]]).toEqual(['execveat', 4, k.AT_EMPTY_PATH]);
    expect(memory.has(2)).toBe(true);
  });
});

test('watched or not, the same calls in the same order; they travel in few frames, unless somebody must be told of each', () => {
  const wanted: Wanted = { options: { volume: ['/data:/data'], user: 'anna' } };
  const [watched, not] = [callsOf({ ...wanted, watch: 'alone' }), callsOf({ ...wanted, watch: false })];
  const plain = (call: RecordedCall) => [call.name, call.args, call.result];
  expect(not.map(plain)).toEqual(watched.map(plain));
  expect(not.at(-1)!.frame).toBeLessThan(20);
  expect(callsOf(wanted).at(-1)!.frame).toBe(not.at(-1)!.frame);
  expect(watched.at(-1)!.frame).toBeGreaterThan(300);
});

test('more mounts than a frame has calls', () => {
  const volume = Array.from({ length: 450 }, (_, i) => `/data:/mnt/${i}`);
  const { calls, error } = record({ options: { volume }, watch: false });
  expect(error).toBeUndefined();
  const made = calls.filter((call) => call.name === 'mkdirat' && /^\d+$/.test(textOf(call, 1)));
  expect(made).toHaveLength(450); // as directories: every answer found its bind
});
