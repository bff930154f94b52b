/** What a container gets when nobody asks for anything: what `docker run` gives, seen from inside. */
import { readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine, type Result, readIfThere } from '../support/tinyctr.ts';

const namespaceTypes = ['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'user', 'time'];

const protectedFiles = [
  '/proc/sys/kernel/hostname',
  '/proc/sysrq-trigger',
  '/proc/irq/default_smp_affinity',
  '/sys/kernel/uevent_seqnum',
  '/sys/kernel/mm/transparent_hugepage/enabled',
  '/sys/fs/cgroup/cgroup.procs',
];

/** Sections of one script's output: everything is asked of one container, which is as good as many. */
const questions: Record<string, string> = {
  hostname: 'hostname',
  namespaces: `for ns in ${namespaceTypes.join(' ')}; do readlink /proc/self/ns/$ns; done`,
  mounts: 'cat /proc/self/mountinfo',
  dev: 'cd /dev; for f in *; do if [ -h $f ]; then echo "$f -> $(readlink $f)"; else stat -c "%n %A %t:%T %u:%g" $f; fi; done',
  shm: 'stat -c "%a" /dev/shm /dev/mqueue /tmp; df -k /dev/shm | tail -1',
  status: 'cat /proc/self/status',
  fds: 'ls /proc/self/fd',
  cgroup: 'grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs',
  cwd: 'cat /proc/1/environ | tr "\\0" "\\n"; readlink /proc/1/cwd; readlink /proc/1/root',
  limits: 'cat /proc/self/limits',
  oom: 'cat /proc/self/oom_score_adj',
  group: 'cat /etc/group',
  hosts: 'cat /etc/hosts',
  hostnameFile: 'cat /etc/hostname',
  resolv: 'cat /etc/resolv.conf',
  links: 'ip -o addr',
  loopback: 'echo hello | nc -l -p 8099 >/dev/null & sleep 0.1; nc -w 2 127.0.0.1 8099 </dev/null',
  ping: 'ping -c 1 -W 2 127.0.0.1 | grep -c "1 packets received"',
  processes: 'ls -d /proc/[0-9]* | wc -l; readlink /proc/1/exe; cat /proc/1/comm',
  session: 'awk "{ print \\$6, \\$7 }" /proc/1/stat',
  masked:
    'for f in keys timer_list interrupts kcore; do [ -e /proc/$f ] && stat -c "%n %F %t:%T" /proc/$f; done; ls -A /sys/firmware /proc/acpi',
  // Opened for writing, nothing written: wrong protection would cost the machine nothing.
  refused: `for f in ${protectedFiles.join(' ')}; do [ -e $f ] && echo "$f $( (: >> $f) 2>&1 || true)"; done`,
  protectedPaths: 'ls /proc/sys/kernel/ostype >/dev/null && echo readable; mkdir /sys/fs/cgroup/mine 2>&1',
};

let engine: Engine;
let result: Result;
const answers: Record<string, string[]> = {};

beforeAll(async () => {
  engine = await new Engine().prepare();
  const script = Object.entries(questions).map(([name, question]) => `echo "==${name}"; (${question}) 2>&1 || true`);
  result = await engine.run('run', '--rm', 'busybox', 'sh', '-c', script.join('\n'));
  for (const section of result.stdout.split(/^==/m).slice(1)) {
    const [name, ...lines] = section.trimEnd().split('\n');
    answers[name!] = lines;
  }
});
afterAll(() => engine.remove());

interface Mount {
  point: string;
  options: string[];
  fstype: string;
  superOptions: string[];
  propagation: string;
}

/** Lines of mountinfo, proc_pid_mountinfo(5). */
function parseMounts(lines: readonly string[]): Mount[] {
  return lines.map((line) => {
    const [left, right] = line.split(' - ') as [string, string];
    const [, , , , point, options, ...optional] = left.split(' ');
    const [fstype, , superOptions] = right.split(' ');
    return {
      point: point!,
      options: options!.split(','),
      fstype: fstype!,
      superOptions: superOptions!.split(','),
      propagation: optional.join(' '),
    };
  });
}

const mount = (point: string) => parseMounts(answers.mounts!).find((m) => m.point === point)!;
const field = (name: string) => answers.status!.find((line) => line.startsWith(`${name}:`))?.split('\t')[1];

describe('the default container', needs({ root: true }), () => {
  test('it runs, and says nothing of its own', () => {
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(Object.keys(answers)).toEqual(Object.keys(questions));
  });

  test('six new namespaces; user and time are the host’s', () => {
    const host = namespaceTypes.map((type) => readlinkSync(`/proc/self/ns/${type}`));
    const isNew = answers.namespaces!.map((link, i) => [namespaceTypes[i], link !== host[i]]);
    expect(Object.fromEntries(isNew)).toEqual({
      mnt: true,
      pid: true,
      uts: true,
      ipc: true,
      net: true,
      cgroup: true,
      user: false,
      time: false,
    });
  });

  test('the host name is the first twelve digits of the id', async () => {
    expect(answers.hostname![0]).toMatch(/^[0-9a-f]{12}$/);
    expect(answers.hostnameFile).toEqual(answers.hostname);
    const cidfile = `${engine.folder}/cid`;
    const { stdout } = await engine.run('run', '--rm', '--cidfile', cidfile, 'busybox', 'hostname');
    expect(stdout.trim()).toBe(readFileSync(cidfile, 'utf8').slice(0, 12));
  });

  test.each([
    ['/', 'overlay', ['rw']],
    ['/proc', 'proc', ['rw', 'nosuid', 'nodev', 'noexec']],
    ['/dev', 'tmpfs', ['rw', 'nosuid']],
    ['/dev/pts', 'devpts', ['rw', 'nosuid', 'noexec']],
    ['/dev/shm', 'tmpfs', ['rw', 'nosuid', 'nodev', 'noexec']],
    ['/dev/mqueue', 'mqueue', ['rw', 'nosuid', 'nodev', 'noexec']],
    ['/sys', 'sysfs', ['ro', 'nosuid', 'nodev', 'noexec']],
    ['/sys/fs/cgroup', 'cgroup2', ['ro', 'nosuid', 'nodev', 'noexec']],
    ['/proc/sys', 'proc', ['ro', 'nosuid', 'nodev', 'noexec']],
    ['/proc/irq', 'proc', ['ro']],
    ['/proc/bus', 'proc', ['ro']],
    ['/proc/fs', 'proc', ['ro']],
    ['/sys/firmware', 'tmpfs', ['ro']],
  ])('%s is a %s, %s', (point, fstype, options) => {
    expect(mount(point)).toMatchObject({ fstype, options: expect.arrayContaining(options) });
  });

  test('the parameters of devpts and shm are docker’s', () => {
    expect(mount('/dev/pts').superOptions).toEqual(expect.arrayContaining(['gid=5', 'mode=620', 'ptmxmode=666']));
    expect(mount('/dev/shm').superOptions).toContain('size=65536k');
    expect(answers.shm!.slice(0, 3)).toEqual(['1777', '1777', '1777']);
    expect(answers.shm![3]).toMatch(/\b65536\b/);
  });

  test('no mount is shared with the host, and none of the host’s is left', () => {
    const mounts = parseMounts(answers.mounts!);
    expect(mounts.filter(({ propagation }) => propagation !== '')).toEqual([]);
    const allowed = /^\/(proc|dev|sys|etc\/(hosts|hostname|resolv\.conf))?(\/|$)/;
    expect(mounts.map(({ point }) => point).filter((point) => !allowed.test(point))).toEqual([]);
  });

  test('/dev holds the default devices and links, nothing else', () => {
    expect(answers.dev!.toSorted()).toEqual(
      [
        'core -> /proc/kcore',
        'fd -> /proc/self/fd',
        'full crw-rw-rw- 1:7 0:0',
        'mqueue drwxrwxrwt 0:0 0:0',
        'null crw-rw-rw- 1:3 0:0',
        'ptmx -> pts/ptmx',
        'pts drwxr-xr-x 0:0 0:0',
        'random crw-rw-rw- 1:8 0:0',
        'shm drwxrwxrwt 0:0 0:0',
        'stderr -> /proc/self/fd/2',
        'stdin -> /proc/self/fd/0',
        'stdout -> /proc/self/fd/1',
        'tty crw-rw-rw- 5:0 0:0',
        'urandom crw-rw-rw- 1:9 0:0',
        'zero crw-rw-rw- 1:5 0:0',
      ].toSorted(),
    );
  });

  test('masked files are the null device, masked folders are empty', () => {
    const files = answers.masked!.filter((line) => line.startsWith('/proc/') && !line.endsWith(':'));
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((line) => !line.endsWith(' 1:3'))).toEqual([]);
    const listed = answers.masked!.filter((line) => !/^\/|:$|^$/.test(line));
    expect(listed.filter((line) => line !== 'ls: /proc/acpi: No such file or directory')).toEqual([]);
  });

  test('/proc/sys, /proc/irq, /proc/bus, /sys and the cgroup can’t be written', () => {
    expect(answers.refused!.length).toBeGreaterThan(2);
    expect(answers.refused!.filter((line) => !line.endsWith('Read-only file system'))).toEqual([]);
    expect(answers.protectedPaths).toEqual(['readable', expect.stringContaining('Read-only file system')]);
  });

  test('capabilities: Docker’s fourteen, inheritable and ambient empty (SEC-09)', () => {
    expect(Object.fromEntries(['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => [set, field(`Cap${set}`)]))).toEqual({
      Inh: '0000000000000000',
      Prm: '00000000a80425fb',
      Eff: '00000000a80425fb',
      Bnd: '00000000a80425fb',
      Amb: '0000000000000000',
    });
  });

  test('a seccomp filter, and no_new_privs only when asked for', async () => {
    expect([field('Seccomp'), field('NoNewPrivs')]).toEqual(['2', '0']);
    const asked = await engine.shell(
      'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status',
      '--security-opt',
      'no-new-privileges',
    );
    expect(asked.stdout).toBe('NoNewPrivs:\t1\nSeccomp:\t2\n');
  });

  test('descriptors 0, 1 and 2 only (SEC-02)', () => {
    // 3 is the folder that ls is reading.
    expect(answers.fds).toEqual(['0', '1', '2', '3']);
  });

  test('the process is in its own cgroup, which its namespace shows as the root', () => {
    expect(answers.cgroup![0]).toBe('0::/');
    expect(answers.cgroup!.slice(1)).toContain('1');
  });

  test('environment and working directory', () => {
    const environment = answers.cwd!.filter((line) => line.includes('=')).toSorted();
    expect(environment).toEqual([
      'HOME=/root',
      `HOSTNAME=${answers.hostname![0]}`,
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ]);
    expect(answers.cwd!.filter((line) => line.startsWith('/'))).toEqual(['/', '/']);
  });

  test('umask 0022, oom_score_adj 0, and the groups that the image has for root', () => {
    expect(field('Umask')).toBe('0022');
    expect(answers.oom).toEqual(['0']);
    const groups = answers
      .group!.map((line) => line.split(':'))
      .filter((entry) => entry[3]?.split(',').includes('root'));
    expect(field('Groups')?.trim().split(' ')).toEqual(['0', ...groups.map((entry) => entry[2])]);
  });

  test('no signal is blocked or ignored, though Node ignores some', async () => {
    const { stdout } = await engine.run('run', '--rm', 'busybox', 'grep', '-E', '^Sig(Blk|Ign):', '/proc/self/status');
    expect(stdout).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
  });

  test('limits are those of tinyctr’s caller', () => {
    expect(answers.limits).toEqual(readFileSync('/proc/self/limits', 'utf8').trimEnd().split('\n'));
  });

  test('/etc/hosts has localhost, /etc/resolv.conf no loopback server', () => {
    expect(answers.hosts).toEqual(expect.arrayContaining(['127.0.0.1\tlocalhost']));
    const host = readIfThere('/etc/resolv.conf').split('\n');
    const loopback = /^nameserver\s+(127\.|::1)/;
    expect(answers.resolv!.filter((line) => loopback.test(line))).toEqual([]);
    expect(answers.resolv).toEqual(
      expect.arrayContaining(host.filter((l) => l.startsWith('nameserver') && !loopback.test(l))),
    );
  });

  test('only a loopback interface, which is up and reachable', () => {
    expect(answers.links!.map((line) => line.split(/\s+/)[1])).toEqual(expect.arrayContaining(['lo']));
    expect(answers.links!.filter((line) => !/^\d+: lo /.test(line))).toEqual([]);
    expect(answers.loopback).toEqual(['hello']);
    expect(answers.ping).toEqual(['1']);
  });

  test('process 1 is the command itself, leader of its own session, and sees its own processes only', () => {
    expect(Number(answers.processes![0])).toBeLessThan(6);
    expect(answers.processes!.slice(1)).toEqual(['/bin/busybox', 'sh']);
    expect(answers.session).toEqual(['1 0']);
  });
});
