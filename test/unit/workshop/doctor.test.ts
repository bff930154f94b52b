/** doctor's judgement of hosts that this one is not: facts in, findings out. */
import { expect, test } from 'vitest';
import type { HostFacts } from '../../../src/workshop/doctor/facts.ts';
import { formatFindings } from '../../../src/workshop/doctor/format.ts';
import { canMakeContainers, type Finding, judge } from '../../../src/workshop/doctor/judge.ts';

const capabilities =
  'CAP_CHOWN CAP_DAC_OVERRIDE CAP_MKNOD CAP_NET_ADMIN CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_RESOURCE'.split(
    ' ',
  );
const works = (names: string) => Object.fromEntries(names.split(' ').map((name) => [name, 'works']));

/** A host without a fault: cgroup v2 alone, AppArmor, everything tried with success. */
const good: HostFacts = {
  ...{ root: true, kernel: '6.12.5-amd64', arch: 'x64', node: 'v22.1.0', capabilities, built: true },
  cgroup: {
    ...{ folder: '/sys/fs/cgroup', controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'], v1: {} },
    ...{ made: 'works', kill: 'works', devices: 'works' },
  },
  namespaces: works('mount pid uts ipc network cgroup user time'),
  sysctls: {
    'user.max_user_namespaces': '15000',
    'kernel.unprivileged_userns_clone': '1',
    'kernel.apparmor_restrict_unprivileged_userns': '0',
  },
  ...{ overlay: 'works', overlayInUserNamespace: 'works', overlayDefaults: { index: 'N' }, idmappedMounts: 'works' },
  ...{
    seccomp: 'works',
    libseccomp: '2.5.5',
    lsm: ['capability', 'apparmor'],
    subordinate: { uid: 655360, gid: 655360 },
  },
  store: {
    ...{ path: '/var/lib/tinyctr', existing: '/var/lib/tinyctr', fstype: 'ext4', freeBytes: 2 ** 36, freeInodes: 1e6 },
    ...{ writable: 'works', nodev: false, noexec: false },
  },
  run: { path: '/run/tinyctr', existing: '/run', fstype: 'tmpfs', writable: 'works' },
  tools: {
    newuidmap: '/usr/bin/newuidmap',
    newgidmap: '/usr/bin/newgidmap',
    nft: '/usr/sbin/nft',
    runc: '/usr/sbin/runc',
  },
  registered: [],
};

type Change = (facts: { -readonly [K in keyof HostFacts]: HostFacts[K] }) => void;

function findings(change: Change): Finding[] {
  const facts = structuredClone(good);
  change(facts);
  return judge(facts);
}

const bad = (all: readonly Finding[]) => all.filter(({ level }) => level !== 'ok');

test('a host without a fault: nothing to say', () => {
  expect(bad(judge(good))).toEqual([]);
  expect(canMakeContainers(judge(good))).toBe(true);
  expect(formatFindings('text', good, judge(good))).toMatch(/\nContainers can be made here\. Warnings: 0\.\n$/);
});

/** Topic, words of its fact, words of its fix. */
const missing: [string, Change, RegExp, RegExp][] = [
  ['kernel', (f) => (f.kernel = '5.10.0-28'), /5\.10/, /boot a kernel of 5\.14/],
  ['node', (f) => (f.node = 'v18.20.1'), /v18/, /newer Node/],
  ['processor', (f) => (f.arch = 'riscv64'), /riscv64/, /machine/],
  ['native parts', (f) => (f.built = false), /not built/, /npm install/],
  ['root', (f) => (f.capabilities = capabilities.slice(1)), /without CAP_CHOWN/, /--privileged/],
  [
    'cgroup layout',
    (f) => (f.cgroup = { ...noCgroup, v1: { memory: '/sys/fs/cgroup/memory' } }),
    /cgroup v1 is/,
    /unified_cgroup_hierarchy=1.*mount -t cgroup2 none \/sys\/fs\/cgroup\/unified/,
  ],
  ['cgroup layout', (f) => (f.cgroup = noCgroup), /not mounted/, /^mount -t cgroup2 none \/sys\/fs\/cgroup$/],
  ['making a cgroup', (f) => (f.cgroup = { ...good.cgroup, made: 'EROFS' }), /EROFS/, /\/sys\/fs\/cgroup/],
  ['cgroup.kill', (f) => (f.cgroup = { ...good.cgroup, kill: 'ENOENT' }), /ENOENT/, /5\.14/],
  ['device rules', (f) => (f.cgroup = { ...good.cgroup, devices: 'EPERM' }), /EPERM/, /CAP_BPF/],
  ['pid namespaces', (f) => (f.namespaces = { ...good.namespaces, pid: 'EPERM' }), /EPERM/, /--privileged/],
  [
    'network namespaces',
    (f) => {
      f.namespaces = { ...good.namespaces, network: 'ENOSPC' };
      f.sysctls = { 'user.max_net_namespaces': '0' };
    },
    /ENOSPC \(user\.max_net_namespaces is 0\)/,
    /^sysctl -w user\.max_net_namespaces=/,
  ],
  ['overlay', (f) => (f.overlay = 'ENODEV'), /ENODEV/, /modprobe overlay/],
  ['overlay', (f) => (f.overlay = 'EINVAL'), /EINVAL/, /xfs/],
  ['seccomp', (f) => (f.seccomp = 'EINVAL'), /EINVAL/, /CONFIG_SECCOMP_FILTER/],
  ['libseccomp', (f) => (f.libseccomp = undefined), /not found/, /apt-get install libseccomp2/],
  ['store', (f) => (f.store = { ...good.store, writable: 'EROFS' }), /EROFS/, /--root/],
  ['run folder', (f) => (f.run = { ...good.run, writable: 'EROFS' }), /\/run can’t be written/, /--run-root/],
];
const noCgroup = { controllers: [], v1: {}, made: 'not tried', kill: 'not tried', devices: 'not tried' };

test.each(missing)('needed: %s', (topic, change, fact, fix) => {
  const all = findings(change);
  const [found, ...others] = bad(all);
  expect(others).toEqual([]);
  expect(found).toMatchObject({ topic, level: 'missing' });
  expect(found!.fact).toMatch(fact);
  expect(found!.fix).toMatch(fix);
  expect(canMakeContainers(all)).toBe(false);
  expect(formatFindings('text', good, all)).toMatch(/^Needed, and not there:\n/);
});

const warnings: [string, Change, RegExp, RegExp][] = [
  ['raising limits', (f) => (f.capabilities = capabilities.slice(0, -1)), /CAP_SYS_RESOURCE/, /CAP_SYS_RESOURCE/],
  [
    'cgroup controller io',
    (f) => (f.cgroup = { ...good.cgroup, controllers: ['cpuset', 'cpu', 'memory', 'pids'] }),
    /not in cgroup v2/,
    /cgroup_disable=io.*Delegate=io/,
  ],
  ['time namespaces', (f) => (f.namespaces = { ...good.namespaces, time: 'ENOENT' }), /ENOENT/, /CONFIG_TIME_NS/],
  ['user namespaces', (f) => (f.namespaces = { ...good.namespaces, user: 'EINVAL' }), /EINVAL/, /CONFIG_USER_NS/],
  [
    'user namespaces',
    (f) => {
      f.namespaces = { ...good.namespaces, user: 'ENOSPC' };
      f.sysctls = { 'user.max_user_namespaces': '0' };
    },
    /ENOSPC/,
    /^sysctl -w user\.max_user_namespaces=15000; to keep it: /,
  ],
  [
    'kernel.unprivileged_userns_clone',
    (f) => (f.sysctls = { 'kernel.unprivileged_userns_clone': '0' }),
    /^0$/,
    /^sysctl -w kernel\.unprivileged_userns_clone=1/,
  ],
  [
    'AppArmor’s restriction of user namespaces',
    (f) => (f.sysctls = { 'kernel.apparmor_restrict_unprivileged_userns': '1' }),
    /is 1/,
    /profile with "userns,"/,
  ],
  ['/etc/subuid', (f) => (f.subordinate = { uid: 1000, gid: 65536 }), /1000 ids/, /echo tinyctr:.* >> \/etc\/subuid/],
  ['overlay in a user namespace', (f) => (f.overlayInUserNamespace = 'EPERM'), /EPERM/, /5\.11/],
  ['idmapped mounts of the store', (f) => (f.idmappedMounts = 'EINVAL'), /EINVAL/, /ext4/],
  ['room in the store', (f) => (f.store = { ...good.store, freeBytes: 1e6 }), /0\.0 GiB/, /image prune/],
  ['room in the store', (f) => (f.store = { ...good.store, freeInodes: 3 }), /3 files free/, /image prune/],
  ['file system of the store', (f) => (f.store = { ...good.store, fstype: 'nfs4' }), /nfs4/, /TINYCTR_ROOT/],
  ['file system of the store', (f) => (f.store = { ...good.store, fstype: 'fuse.sshfs' }), /sshfs/, /TINYCTR_ROOT/],
  [
    'mount of the store',
    (f) => (f.store = { ...good.store, nodev: true, noexec: true }),
    /nodev and noexec/,
    /remount,dev,exec/,
  ],
  ['run folder', (f) => (f.run = { ...good.run, fstype: 'ext4' }), /not a tmpfs/, /--run-root/],
  ['newuidmap, newgidmap', (f) => (f.tools = { ...good.tools, newgidmap: undefined }), /^newgidmap not/, /uidmap/],
  ['nft, iptables', (f) => (f.tools = { ...good.tools, nft: undefined }), /not found/, /nftables/],
  ['runc', (f) => (f.tools = { ...good.tools, runc: undefined }), /not found/, /runc/],
];

test.each(warnings)('for some containers: %s', (topic, change, fact, fix) => {
  const all = findings(change);
  const [found, ...others] = bad(all);
  expect(others).toEqual([]);
  expect(found).toMatchObject({ topic, level: 'warning' });
  expect(found!.fact).toMatch(fact);
  expect(found!.fix).toMatch(fix);
  expect(canMakeContainers(all)).toBe(true);
});

test('a hybrid layout: each controller with the place it is bound to, by v2’s name', () => {
  const v1 = { memory: '/sys/fs/cgroup/memory', blkio: '/sys/fs/cgroup/blkio' };
  const cgroup = { ...good.cgroup, folder: '/sys/fs/cgroup/unified', controllers: ['cpu', 'cpuset', 'pids'], v1 };
  const found = bad(findings((f) => (f.cgroup = cgroup)));
  expect(found.map(({ topic, level, fact }) => [topic, level, fact])).toEqual([
    ['cgroup layout', 'warning', 'hybrid: cgroup v2 at /sys/fs/cgroup/unified, and v1 beside it'],
    ['cgroup controller memory', 'warning', 'bound to cgroup v1 at /sys/fs/cgroup/memory'],
    ['cgroup controller io', 'warning', 'bound to cgroup v1 at /sys/fs/cgroup/blkio'],
  ]);
  expect(found[2]!.fix).toMatch(/cgroup_no_v1=blkio/);
});

test('without root: what was not tried is said, and is no fault', () => {
  const no = 'needs root';
  const all = findings((f) => {
    Object.assign(f, { root: false, capabilities: [], overlay: no, overlayInUserNamespace: no, idmappedMounts: no });
    f.cgroup = { ...good.cgroup, made: no, kill: no, devices: no };
    f.namespaces = { ...Object.fromEntries(Object.keys(good.namespaces).map((type) => [type, no])), user: 'works' };
    f.store = { ...good.store, writable: 'EACCES' };
    f.run = { ...good.run, writable: 'EACCES' };
  });
  expect(bad(all).every(({ level }) => level === 'unknown')).toBe(true);
  expect(bad(all).map(({ topic }) => topic)).toContain('root');
  expect(formatFindings('text', good, all)).toMatch(
    /\nContainers can be made here, as far as could be looked at \(8 not\)/,
  );
});

test('security modules: active, none, not to be seen', () => {
  const of = (lsm: string[] | undefined) =>
    findings((f) => (f.lsm = lsm)).find(({ topic }) => topic === 'security modules');
  expect(of(['capability', 'selinux'])).toMatchObject({ level: 'ok', means: 'labels of config.json are applied' });
  expect(of([])).toMatchObject({ level: 'ok', fact: 'none', means: expect.stringMatching(/is refused/) });
  expect(of(undefined)).toMatchObject({ level: 'unknown', fix: expect.stringMatching(/^mount -t securityfs/) });
});

test('clients, and whether their configuration names tinyctr-oci', () => {
  const found = findings((f) => {
    f.tools = { ...good.tools, podman: '/usr/bin/podman', docker: '/usr/bin/docker' };
    f.registered = ['podman'];
  });
  const of = (name: string) => found.find(({ topic }) => topic === name)!.fact;
  expect(of('podman')).toBe('/usr/bin/podman, knows tinyctr-oci');
  expect(of('docker')).toMatch(/does not know/);
});

test('JSON has the verdict, all findings and the facts', () => {
  const all = findings((f) => (f.libseccomp = undefined));
  const json = JSON.parse(formatFindings('json', good, all)) as {
    containers: boolean;
    findings: Finding[];
    facts: HostFacts;
  };
  expect(json).toMatchObject({ containers: false, facts: { kernel: '6.12.5-amd64' } });
  expect(json.findings).toHaveLength(all.length);
});
