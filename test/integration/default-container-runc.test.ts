/**
 * The same specification carried out by tinyctr and by runc: a program inside must not be able to tell which it was. runc
 * does not know a hybrid cgroup layout, so it runs in a mount namespace in which there is only cgroup v2.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hostReaders } from '../../src/engine/host.ts';
import type { RunOptions } from '../../src/engine/options.ts';
import { defaultSeccompProfile } from '../../src/engine/seccomp-profile.ts';
import { containerSpec } from '../../src/engine/spec.ts';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { Engine, type Result, runProgram, scratch } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

/** What a program can find out about its container, a section each. Ids and times are left out. */
const report: Record<string, string> = {
  status: 'grep -E "^(Uid|Gid|Groups|Umask|Cap|NoNewPrivs|Seccomp:|Sig(Blk|Ign|Cgt)|NSpid)" /proc/1/status',
  limits: 'cat /proc/1/limits',
  mounts: `awk '{ for (i = 7; $i != "-"; i++); print $5, $6, $(i + 1), $(i + 3) }' /proc/self/mountinfo | grep -v " overlay " | sort`,
  dev: 'cd /dev; for f in * shm/* mqueue/*; do stat -c "%N %A %t:%T %u:%g" $f; done | sort',
  devRoot: 'stat -c "%a %u:%g" /dev /dev/pts /dev/shm /proc /sys /tmp /',
  processes: 'set -- /proc/[0-9]*; echo $#; awk "{ print \\$6, \\$7, \\$8 }" /proc/1/stat',
  descriptors: 'ls -l /proc/1/fd | awk "{ print \\$9 }"',
  names:
    'hostname; cat /proc/sys/kernel/domainname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range',
  network: 'ip -o addr | cut -d " " -f 2-7; cat /proc/net/route',
  cgroup:
    'grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup | grep -E "^cgroup.(procs|kill)"; grep -c . /sys/fs/cgroup/cgroup.procs',
  environment: 'tr "\\0" "\\n" < /proc/1/environ | sort; readlink /proc/1/cwd; cat /proc/1/oom_score_adj',
  masked:
    'for f in keys timer_list kcore interrupts latency_stats sched_debug; do [ -e /proc/$f ] && stat -c "%n %t:%T %a" /proc/$f; done; ls -A /sys/firmware /proc/acpi /proc/scsi 2>&1',
  refused: `for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/fs/cgroup/cgroup.procs; do (: >> $f) 2>&1; done
    mount -t tmpfs none /tmp 2>&1; unshare -U true 2>&1; mknod /tmp/disk b 240 0 && head -c 1 /tmp/disk 2>&1; chroot / true && echo chroot; ulimit -n 1048577 2>&1`,
};
const script = `exec 2>&1\n${Object.entries(report)
  .map(([name, text]) => `echo "==${name}"; (${text})`)
  .join('\n')}\nexit 7`;

/**
 * What differs on purpose. The root is an overlay here and a folder there. Covers of masked folders are nosuid, nodev and
 * noexec here. sysfs is read-only as a mount here, as a file system there. /dev/core is made here even if there is no kcore.
 */
const differs = /^\/ |^'core'|^(\/proc\/(acpi|scsi|asound)|\/sys\/(firmware|devices\/virtual\/powercap)) ro,.*tmpfs/;

function sections({ stdout, stderr, code }: Result): Record<string, string[]> {
  expect({ stderr, code }).toEqual({ stderr: '', code: 7 });
  const parts = stdout
    .split(/^==/m)
    .slice(1)
    .map((part) => part.trimEnd().split('\n'));
  const normal = (lines: string[]) =>
    lines.filter((line) => !differs.test(line)).map((line) => line.replace(/( sysfs) r[ow]$/, '$1'));
  return Object.fromEntries(parts.map(([name, ...lines]) => [name, normal(lines)]));
}

interface Case {
  words: string[];
  options: Partial<RunOptions>;
  user?: NonNullable<Spec['process']>['user'];
}

const cases: [string, Case][] = [
  ['nothing', { words: [], options: {} }],
  [
    'an ordinary user',
    {
      words: ['-u', '1000:1001'],
      options: { user: '1000:1001' },
      user: { uid: 1000, gid: 1001, additionalGids: [1001] },
    },
  ],
  [
    'no new privileges, capabilities',
    {
      words: ['--security-opt', 'no-new-privileges', '--cap-drop', 'ALL', '--cap-add', 'CHOWN'],
      options: { securityOpt: ['no-new-privileges'], capDrop: ['ALL'], capAdd: ['CHOWN'] },
    },
  ],
  [
    'a read-only root, limits, a tmpfs',
    {
      words: ['--read-only', '--ulimit', 'nofile=50:60', '--tmpfs', '/tmp:size=1m', '--shm-size', '1m'],
      options: { readOnly: true, ulimit: ['nofile=50:60'], tmpfs: ['/tmp:size=1m'], shmSize: '1m' },
    },
  ],
  [
    'the host’s network and ipc',
    { words: ['--network', 'host', '--ipc', 'host'], options: { network: 'host', ipc: 'host' } },
  ],
];

/** The OCI bundle for what `tinyctr run` was asked for, on a copy of the same root filesystem. */
function makeBundle({ options, user }: Case): string {
  const bundle = scratch(engine);
  const rootfs = engine.rootfs();
  chmodSync(rootfs, 0o755);
  const none = {
    env: [],
    envFile: [],
    volume: [],
    mount: [],
    tmpfs: [],
    groupAdd: [],
    ulimit: [],
    device: [],
    capAdd: [],
    capDrop: [],
  };
  const files = { hosts: `${bundle}/hosts`, hostname: `${bundle}/hostname`, resolvConf: `${bundle}/resolv.conf` };
  for (const file of Object.values(files)) writeFileSync(file, 'x\n', { mode: 0o644 });
  const { spec } = containerSpec({
    options: { ...none, securityOpt: [], sysctl: [], dns: [], addHost: [], label: [], hostname: 'same', ...options },
    command: ['sh', '-c', script],
    image: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    id: 'same',
    rootfs,
    terminal: false,
    files,
    volumes: '',
    host: hostReaders,
  });
  const { process: container, linux } = spec;
  container!.env = [...container!.env!, `HOME=${user ? '/' : '/root'}`];
  // Docker's own translation: root is in the groups that the image's file has for it.
  container!.user = user ?? { uid: 0, gid: 0, additionalGids: rootGroups(rootfs) };
  if (user) {
    // Docker's own translation: an ordinary user has the bounding set, and the others are empty.
    container!.capabilities = { ...container!.capabilities!, permitted: [], effective: [] };
  }
  linux!.seccomp = defaultSeccompProfile(container!.capabilities?.bounding ?? []);
  linux!.cgroupsPath = `/tinyctr-compare-${process.pid}`;
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  return bundle;
}

function rootGroups(rootfs: string): number[] {
  const lines = readFileSync(`${rootfs}/etc/group`, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  return [0, ...lines.filter(([, , , users]) => users?.split(',').includes('root')).map(([, , gid]) => Number(gid))];
}

function runc(bundle: string): Promise<Result> {
  const state = `${engine.folder}/runc`;
  mkdirSync(state, { recursive: true });
  const view = `umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec runc --root ${state} run --bundle ${bundle} compare-${process.pid}`;
  return runProgram('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', view]);
}

describe('runc and tinyctr', needs({ root: true, command: ['runc', 'unshare'] }), () => {
  test.each(cases)('%s: no difference inside', async (_, what) => {
    const ours = sections(
      await engine.run('run', '--rm', '--hostname', 'same', ...what.words, 'busybox', 'sh', '-c', script),
    );
    const theirs = sections(await runc(makeBundle(what)));
    expect(Object.keys(ours)).toEqual(Object.keys(report));
    expect(ours).toEqual(theirs);
  });
});
