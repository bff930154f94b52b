import { describe, expect, test } from 'vitest';
import * as k from '../../../../src/core/kernel/constants.ts';
import { capabilityNames } from '../../../../src/core/plan/capabilities.ts';
import { type PlanInput, planContainer } from '../../../../src/core/plan/container.ts';
import type { Linux, Process, Spec } from '../../../../src/core/spec/types.ts';

const everything = { permittedCapabilities: (1n << BigInt(capabilityNames.length)) - 1n };
const root: PlanInput['root'] = { source: { kind: 'directory', path: '/rootfs' }, target: '/rootfs' };
const plainProcess: Process = { user: { uid: 0, gid: 0 }, args: ['sh'], cwd: '/' };

function plan(spec: Partial<Spec> & { linux?: Linux } = {}, input: Partial<PlanInput> = {}, facts = everything) {
  const linux = { namespaces: [{ type: 'mount' as const }], ...spec.linux };
  const whole: Spec = { process: plainProcess, ...spec, linux };
  return planContainer({ id: 'c', spec: whole, root, cgroupPath: '/tinyctr/c', ...input }, facts);
}

const refuses = (act: () => unknown, message: string, specPointer: string) =>
  expect(act).toThrow(expect.objectContaining({ message, specPointer }));

const only = (clone: number) => ({ clone, newCgroup: false, join: [] });

describe('namespaces', () => {
  test('new ones are clone flags; the cgroup namespace waits until the process is in its cgroup', () => {
    const types = ['pid', 'network', 'mount', 'ipc', 'uts', 'cgroup'] as const;
    const { namespaces, loopback } = plan({ linux: { namespaces: types.map((type) => ({ type })) } });
    const flags = k.CLONE_NEWPID | k.CLONE_NEWNET | k.CLONE_NEWNS | k.CLONE_NEWIPC | k.CLONE_NEWUTS;
    expect(namespaces).toEqual({ clone: flags, newCgroup: true, join: [] });
    expect(loopback).toBe(true);
  });

  test('those of others are joined, in order, with the place in the configuration', () => {
    const path = '/proc/7/ns/net';
    const { namespaces, loopback } = plan({ linux: { namespaces: [{ type: 'mount' }, { type: 'network', path }] } });
    const joined = { type: 'network', flag: k.CLONE_NEWNET, path, specPointer: '/linux/namespaces/1/path' };
    expect(namespaces).toEqual({ clone: k.CLONE_NEWNS, newCgroup: false, join: [joined] });
    expect(loopback).toBe(false);
  });

  const map = [{ containerID: 0, hostID: 100000, size: 1000 }];

  test('a user namespace is made before the others, and is no clone flag; devices are made with the host’s ids', () => {
    const namespaces = [{ type: 'mount' as const }, { type: 'user' as const }];
    const made = plan({ linux: { namespaces, uidMappings: map, gidMappings: map } });
    expect(made.namespaces).toEqual({
      ...only(k.CLONE_NEWNS),
      user: { root: { uid: 100000, gid: 100000 } },
    });
    expect(made.idMaps).toEqual([{ uid: map, gid: map }]);
    expect(made.devices[0]).toMatchObject({ path: '/dev/null', uid: 100000, gid: 100000 });
  });

  test('one that is joined brings its own maps', () => {
    const namespaces = [{ type: 'mount' as const }, { type: 'user' as const, path: '/proc/7/ns/user' }];
    const made = plan({ linux: { namespaces, uidMappings: map, gidMappings: map } });
    expect(made.namespaces.user).toEqual({});
    expect(made.namespaces.join).toHaveLength(1);
    expect(made.idMaps).toEqual([]);
  });

  test('a process has all capabilities in a user namespace, also those that the runtime lacks', () => {
    const namespaces = [{ type: 'mount' as const }, { type: 'user' as const }];
    const linux = { namespaces, uidMappings: map, gidMappings: map };
    const capabilities = { effective: ['CAP_SYS_RESOURCE'], permitted: ['CAP_SYS_RESOURCE'] };
    const process = { user: { uid: 0, gid: 0 }, args: ['sh'], cwd: '/', capabilities };
    const input = {
      id: 'c',
      root: { source: { kind: 'directory' as const, path: '/r' }, target: '/r' },
      cgroupPath: '/c',
    };
    const made = planContainer({ ...input, spec: { process, linux } }, { permittedCapabilities: 0n });
    expect(made.process.capabilities.effective).toBe(1n << 24n);
  });

  test('a time namespace is no clone flag, its offsets are lines', () => {
    const namespaces = [{ type: 'mount' as const }, { type: 'time' as const }];
    const timeOffsets = { monotonic: { secs: -5 }, boottime: { secs: 7, nanosecs: 8 } };
    const made = plan({ linux: { namespaces, timeOffsets } });
    expect(made.namespaces).toEqual({ ...only(k.CLONE_NEWNS), timeOffsets: 'monotonic -5 0\nboottime 7 8\n' });
  });

  test('idmap takes the container’s maps, a mount with maps of its own those; each becomes a user namespace', () => {
    const namespaces = [{ type: 'mount' as const }, { type: 'user' as const }];
    const other = [{ containerID: 0, hostID: 5, size: 9 }];
    const bind = (changes: object) => ({
      destination: '/d',
      type: 'bind',
      source: '/s',
      options: ['rbind'],
      ...changes,
    });
    const mounts = [
      bind({ options: ['rbind', 'idmap'] }),
      bind({ uidMappings: other, gidMappings: other }),
      bind({ uidMappings: other, gidMappings: other, options: ['rbind', 'ridmap'] }),
      bind({}),
    ];
    const made = plan({ linux: { namespaces, uidMappings: map, gidMappings: map }, mounts });
    expect(made.idMaps.map(({ uid }) => uid)).toEqual([map, other, other]);
    expect(made.mounts.map((m) => m.kind === 'bind' && [m.idMap, m.idMapRecursive])).toEqual([
      [0, false],
      [1, false],
      [2, true],
      [undefined, undefined],
    ]);
  });

  test.each(['pidd', 'net', 'constructor'])('%s is unknown', (type) => {
    const message = `unknown namespace ${type}; known are mount, pid, uts, ipc, network, cgroup, user, time`;
    refuses(() => plan({ linux: { namespaces: [{ type: type as 'pid' }] } }), message, '/linux/namespaces/0/type');
  });

  test.each([[[]], [[{ type: 'pid' as const }]], [[{ type: 'mount' as const, path: '/proc/1/ns/mnt' }]]])(
    '%j has no mount namespace of its own',
    (namespaces) => {
      refuses(
        () => plan({ linux: { namespaces } }),
        'a container needs a mount namespace of its own',
        '/linux/namespaces',
      );
    },
  );
});

describe('the process', () => {
  const withProcess = (changes: Partial<Process>, input?: Partial<PlanInput>) =>
    plan({ process: { ...plainProcess, ...changes } }, input).process;

  test('is taken over as it is, with the defaults of the specification', () => {
    expect(withProcess({})).toEqual({
      args: ['sh'],
      env: [],
      cwd: '/',
      createCwd: false,
      user: { kind: 'ids', uid: 0, gid: 0, additionalGids: [] },
      umask: 0o022,
      capabilities: { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n },
      rlimits: [],
      noNewPrivileges: false,
      init: false,
    });
  });

  test('with all that can be said', () => {
    const user = { uid: 7, gid: 8, umask: 0, additionalGids: [9] };
    const said = { user, env: ['A=b'], cwd: '/tmp', noNewPrivileges: true, oomScoreAdj: -5 };
    const seccomp = { program: new Uint8Array(8), flags: 2 };
    expect(withProcess(said, { init: true, createCwd: true, seccomp })).toMatchObject({
      user: { kind: 'ids', uid: 7, gid: 8, additionalGids: [9] },
      ...{ umask: 0, env: ['A=b'], cwd: '/tmp', noNewPrivileges: true, oomScoreAdj: -5 },
      ...{ init: true, createCwd: true, seccomp },
    });
  });

  test('a user to look up goes before numbers', () => {
    const user = { kind: 'lookup' as const, user: 'anna', groupAdd: [] };
    expect(withProcess({ user: { uid: 7, gid: 8 } }, { user }).user).toEqual(user);
  });

  test.each([undefined, []])('without a command (%j) there is nothing to run', (args) => {
    refuses(() => withProcess({ args: args as string[] }), 'there is no command to run', '/process/args');
  });

  test('without a process as well', () => {
    refuses(() => plan({ process: undefined as never }), 'there is no command to run', '/process/args');
  });

  test.each(['', 'tmp', './tmp'])('the working directory %j is not absolute', (cwd) => {
    refuses(() => withProcess({ cwd }), `cwd is ${JSON.stringify(cwd)}; it must be an absolute path`, '/process/cwd');
  });

  test('a limit that is wrong is named', () => {
    const rlimits = [{ type: 'RLIMIT_FOO', soft: 1, hard: 1 }];
    expect(() => withProcess({ rlimits })).toThrow(expect.objectContaining({ specPointer: '/process/rlimits/0/type' }));
  });
});

describe('capabilities', () => {
  const withCapabilities = (capabilities: Process['capabilities'], facts = everything) =>
    plan({ process: { ...plainProcess, capabilities: capabilities! } }, {}, facts).process.capabilities;

  test('each set is its own', () => {
    const named = { bounding: ['CAP_CHOWN'], effective: ['CAP_KILL'], permitted: ['CAP_SETUID'], ambient: ['CAP_BPF'] };
    expect(withCapabilities(named)).toEqual({
      bounding: 1n,
      effective: 1n << 5n,
      permitted: 1n << 7n,
      inheritable: 0n,
      ambient: 1n << 39n,
    });
  });

  test.each(['bounding', 'effective', 'permitted', 'inheritable', 'ambient'])(
    'an unknown one in %s is named',
    (set) => {
      const specPointer = `/process/capabilities/${set}`;
      expect(() => withCapabilities({ [set]: ['CAP_FOO'] })).toThrow(
        expect.objectContaining({ message: expect.stringContaining('unknown capability CAP_FOO'), specPointer }),
      );
    },
  );

  test.each(['effective', 'permitted', 'inheritable'])('what tinyctr itself lacks can’t be %s', (set) => {
    const facts = { permittedCapabilities: 1n };
    const message = "CAP_KILL, CAP_BPF can't be given: tinyctr itself does not have it";
    const names = ['CAP_BPF', 'CAP_CHOWN', 'CAP_KILL'];
    refuses(() => withCapabilities({ [set]: names }, facts), message, '/process/capabilities');
  });
});

describe('the rest', () => {
  test('default devices come first, with their numbers', () => {
    const device = { path: '/dev/kvm', type: 'c' as const, major: 10, minor: 232, fileMode: 0o660, uid: 1, gid: 2 };
    const fifo = { path: '/fifo', type: 'p' as const };
    const { devices } = plan({ linux: { devices: [device, fifo] } });
    const numbers = devices.slice(0, 6).map(({ path, mode, major, minor }) => [path, mode, major, minor]);
    expect(numbers).toEqual([
      ['/dev/null', k.S_IFCHR | 0o666, 1, 3],
      ['/dev/zero', k.S_IFCHR | 0o666, 1, 5],
      ['/dev/full', k.S_IFCHR | 0o666, 1, 7],
      ['/dev/random', k.S_IFCHR | 0o666, 1, 8],
      ['/dev/urandom', k.S_IFCHR | 0o666, 1, 9],
      ['/dev/tty', k.S_IFCHR | 0o666, 5, 0],
    ]);
    expect(devices.slice(6)).toEqual([
      { path: '/dev/kvm', mode: k.S_IFCHR | 0o660, major: 10, minor: 232, uid: 1, gid: 2 },
      { path: '/fifo', mode: k.S_IFIFO | 0o666, major: 0, minor: 0, uid: 0, gid: 0 },
    ]);
  });

  test.each(['x', '', 'constructor'])('a device of the type %j is refused', (type) => {
    const devices = [{ path: '/dev/x', type: type as 'c', major: 1, minor: 1 }];
    const message = `/dev/x has the type ${JSON.stringify(type)}; known are c, u, b, p`;
    refuses(() => plan({ linux: { devices } }), message, '/linux/devices/0/type');
  });

  test('names, paths and settings are taken over', () => {
    const linux: Linux = { maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'], rootfsPropagation: 'slave' };
    const sysctl = { 'net.ipv4.ip_forward': '1' };
    const spec = { hostname: 'h', domainname: 'd', root: { path: '/', readonly: true }, linux: { ...linux, sysctl } };
    expect(plan(spec)).toMatchObject({
      ...{ id: 'c', hostname: 'h', domainname: 'd', maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'] },
      root: { ...root, readonly: true, propagation: k.MS_SLAVE },
      sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }],
      cgroup: { path: '/tinyctr/c' },
    });
  });

  test('what is not asked for is not there', () => {
    const made = plan();
    for (const key of ['hostname', 'domainname', 'terminal']) expect(made).not.toHaveProperty(key);
    expect([made.mounts, made.sysctls, made.maskedPaths, made.root.readonly]).toEqual([[], [], [], false]);
  });

  test('a terminal has the size of the caller’s', () => {
    const process = { ...plainProcess, terminal: true };
    expect(plan({ process }, { terminal: { rows: 24, columns: 80 } }).terminal).toEqual({ rows: 24, columns: 80 });
    expect(plan({ process }).terminal).toEqual({ rows: 0, columns: 0 });
  });

  test('a mount that is wrong is named by its index', () => {
    const mounts = [
      { destination: '/proc', type: 'proc' },
      { destination: '/a/../..', type: 'tmpfs' },
    ];
    expect(() => plan({ mounts })).toThrow(expect.objectContaining({ specPointer: '/mounts/1' }));
  });
});
