/** What podman's options make of a container, seen from inside; and the statuses of errors, beside runc's for the same command. */
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Podman, podmanNeeds } from '../support/podman.ts';

describe('podman run', needs(podmanNeeds), () => {
  let podman: Podman;

  beforeAll(async () => {
    podman = await Podman.start();
  });
  afterAll(() => podman.end());

  /** What a shell in a container with these options prints. */
  async function inside(options: readonly string[], script: string): Promise<string> {
    const { code, stdout, stderr } = await podman.run('run', '--rm', ...options, 'busybox', 'sh', '-c', script);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout;
  }

  test('who it is: --user, --cap-add, --cap-drop, --security-opt, --ulimit and their kin', async () => {
    const user = ['--user', '1000:2000', '--group-add', '7', '--umask', '0077', '--oom-score-adj', '500'];
    const rights = ['--cap-drop', 'all', '--cap-add', 'kill,net_bind_service', '--security-opt', 'no-new-privileges'];
    const limits = ['--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--ulimit', 'nproc=32768:32768'];
    const script = `id -u; id -G; umask; cat /proc/self/oom_score_adj; grep -E "Cap(Bnd|Eff)|NoNew|Seccomp:" /proc/self/status
                    ulimit -n; ulimit -Hn; ulimit -c`;
    expect(await inside([...user, ...rights, ...limits], script)).toBe(
      [
        ...['1000', '2000 7', '0077', '500', 'CapEff:\t0000000000000420', 'CapBnd:\t0000000000000420'],
        ...['NoNewPrivs:\t1', 'Seccomp:\t2', '100', '200', '0', ''],
      ].join('\n'),
    );
  });

  test('--security-opt seccomp=unconfined, mask and unmask', async () => {
    const options = ['seccomp=unconfined', 'mask=/proc/uptime', 'unmask=/proc/timer_list'];
    const script = 'grep Seccomp: /proc/self/status; cat /proc/uptime; stat -c %F /proc/timer_list /proc/keys';
    expect(
      await inside(
        options.flatMap((option) => ['--security-opt', option]),
        script,
      ),
    ).toBe('Seccomp:\t0\nregular empty file\ncharacter special file\n');
  });

  test('--privileged: every capability, the host’s devices, /sys to write to', async () => {
    const bounding = /^CapBnd:\t(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
    const script =
      'grep CapEff /proc/self/status; test -c /dev/kmsg && echo devices; grep " /sys " /proc/mounts | cut -c1-15';
    expect(await inside(['--privileged'], script)).toBe(`CapEff:\t${bounding}\ndevices\nsysfs /sys sysf\n`);
    expect(await inside(['--privileged'], 'grep -c " /sys sysfs rw" /proc/mounts')).toBe('1\n');
  });

  test('--read-only: three folders in memory, with what the image has in them', async () => {
    const script = 'touch /x 2>&1; touch /tmp/x /run/x /var/tmp/x && stat -c "%n %a" /tmp /run /var/tmp';
    expect(await inside(['--read-only'], script)).toBe(
      'touch: /x: Read-only file system\n/tmp 1777\n/run 755\n/var/tmp 1777\n',
    );
    const bare = await podman.run(
      'run',
      '--rm',
      '--read-only',
      '--read-only-tmpfs=false',
      'busybox',
      'touch',
      '/tmp/x',
    );
    expect(bare).toMatchObject({ code: 1, stderr: 'touch: /tmp/x: Read-only file system\n' });
  });

  test('-v, --tmpfs and --mount', async () => {
    const folder = `${podman.engine.folder}/shared`;
    mkdirSync(folder);
    writeFileSync(`${folder}/file`, 'of the host\n');
    const options = [
      ...['-v', `${folder}:/rw`, '-v', `${folder}:/ro:ro`, '-v', 'volume:/etc', '--tmpfs', '/home:size=1m,mode=700'],
      ...['--tmpfs', '/bin:ro', '--mount', 'type=tmpfs,dst=/mnt,tmpfs-size=2m'],
      ...[
        '--mount',
        `type=bind,src=${folder},dst=/bound,ro,bind-propagation=rshared`,
        '--mount',
        'type=devpts,dst=/pts',
      ],
    ];
    const script = `cat /ro/file; touch /ro/x 2>&1; touch /bin/x 2>&1; echo written > /rw/new; head -c5 /etc/passwd; echo
      df -k /home /mnt | tail -2 | awk '{ print $2 }'; stat -c %a /home; ls /pts
      awk '$5 == "/bound" { print $7 }' /proc/self/mountinfo | cut -d: -f1; cat /etc/added 2>/dev/null; echo kept > /etc/added`;
    const expected = [
      ...['of the host', 'touch: /ro/x: Read-only file system', 'touch: /bin/x: Read-only file system', 'root:'],
      ...['1024', '2048', '700', 'ptmx', 'shared', ''],
    ].join('\n');
    expect(await inside(options, script)).toBe(expected);
    expect(readFileSync(`${folder}/new`, 'utf8')).toBe('written\n');
    expect(await inside(options, script)).toBe(`${expected}kept\n`); // the volume is the second container's as well
  });

  test('images and overlays as mounts, whose folders have long names', async () => {
    const folder = `${podman.engine.folder}/${'long-name-'.repeat(20)}`;
    mkdirSync(folder);
    writeFileSync(`${folder}/file`, 'below\n');
    const options = ['--mount', 'type=image,src=busybox,dst=/image', '-v', `${folder}:/upper:O`];
    const script = 'ls /image/bin/busybox; echo above > /upper/file; cat /upper/file';
    expect(await inside(options, script)).toBe('/image/bin/busybox\nabove\n');
    expect(readFileSync(`${folder}/file`, 'utf8')).toBe('below\n');
  });

  test('--device, --sysctl, --shm-size, --hostname, --entrypoint, --preserve-fds, -i', async () => {
    const devices = [
      '--device',
      '/dev/zero:/dev/other:r',
      '--sysctl',
      'net.ipv4.ip_forward=1',
      '--sysctl',
      'kernel.msgmax=65000',
    ];
    const script = `head -c3 /dev/other | wc -c; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax
                    df -k /dev/shm | tail -1 | awk '{ print $2 }'; hostname`;
    const settings = ['--shm-size', '1m', '--hostname', 'named'];
    const result = await podman.run('run', '--rm', ...devices, ...settings, 'busybox', 'sh', '-c', script);
    expect(result.stdout, result.stderr).toBe('3\n1\n65000\n1024\nnamed\n');
    expect((await podman.run('run', '--rm', '--entrypoint', '["/bin/echo","a"]', 'busybox', 'b')).stdout).toBe('a b\n');
    const typed = await podman.runWith({ input: 'typed\n' }, 'run', '--rm', '-i', 'busybox', 'cat');
    expect(typed.stdout).toBe('typed\n');
  });

  test('namespaces of the host and of another container', async () => {
    expect((await podman.run('run', '-d', '--name', 'other', 'busybox', 'sleep', '1000')).code).toBe(0);
    const links = 'for i in pid net ipc uts; do readlink /proc/self/ns/$i; done';
    const ids = async (...options: string[]) => (await inside(options, links)).trim().split('\n');
    const others = (await podman.run('exec', 'other', 'sh', '-c', links)).stdout.trim().split('\n');
    const shared = ['pid', 'network', 'ipc', 'uts'].flatMap((name) => [`--${name}`, 'container:other']);
    expect(await ids(...shared)).toEqual(others);
    const hosts = await ids('--pid', 'host', '--ipc', 'host', '--uts', 'host', '--network', 'host');
    expect([hosts[0], hosts[2], hosts[3]]).toEqual(
      ['pid', 'ipc', 'uts'].map((name) => readlinkSync(`/proc/self/ns/${name}`)),
    );
    expect(await inside(['--network', 'none'], 'ip -o link | cut -c1-35')).toBe(
      '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 6\n',
    );
    expect(await inside(['--pid', 'container:other'], 'tr "\\0" " " < /proc/1/cmdline')).toBe('sleep 1000 ');
    expect((await podman.run('rm', '-f', '-t', '0', 'other')).code).toBe(0);
  });

  test('--init: podman’s init is process 1, the command its child', async () => {
    const init = `${podman.engine.folder}/init`; // in place of catatonit
    writeFileSync(init, '#!/bin/sh\n[ "$1" = -- ] && shift\n"$@" &\nwait $!\n', { mode: 0o755 });
    expect(await inside(['--init', '--init-path', init], 'cat /proc/1/comm; echo $$ $PPID')).toMatch(/init\n2 1\n$/);
  });

  test('--userns=auto: ids that no other container has', async () => {
    const script = 'id -u; cat /proc/self/uid_map; touch /file; stat -c %u /file /bin/busybox';
    const maps = [];
    for (const name of ['first', 'second']) {
      const run = await podman.run('run', '--name', name, '--userns=auto:size=1000', 'busybox', 'sh', '-c', script);
      expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' });
      maps.push(Number(/^0\n +0 +(\d+) +1000\n0\n0\n$/.exec(run.stdout)?.[1]));
    }
    expect(maps).toEqual([100000, 101000]);
    await podman.run('rm', 'first', 'second');
  });

  describe('beside runc', needs({ root: true, command: 'runc' }), () => {
    const commands: [what: string, words: string[]][] = [
      ['a command that is not there', ['busybox', 'missing']],
      ['a path that is not there', ['busybox', '/not/there']],
      ['a file that is no program', ['busybox', '/etc/passwd']],
      ['a folder', ['busybox', '/etc']],
      ['a user that is not there', ['-u', 'nosuch', 'busybox', 'true']],
      ['a working directory that is not there', ['-w', '/nosuch', 'busybox', 'true']],
      ['an rlimit above what may be had', ['--ulimit', 'nofile=2000000:2000000', 'busybox', 'true']],
      ['more than a tmpfs holds', ['--tmpfs', '/bin:size=64k', 'busybox', 'true']],
      ['a status', ['busybox', 'sh', '-c', 'exit 42']],
      ['a signal', ['busybox', 'sh', '-c', 'kill -9 $$']],
      ['a time that is over', ['--timeout', '1', 'busybox', 'sleep', '100']],
    ];

    test.each(commands)('%s: the same status of podman', async (_what, words) => {
      const [ours, theirs] = [
        await podman.run('run', '--rm', ...words),
        await podman.run('--runtime', 'runc', 'run', '--rm', ...words),
      ];
      expect(ours.code, ours.stderr).toBe(theirs.code);
      const kind = /OCI [a-z ]+/.exec(theirs.stderr)?.[0] ?? '';
      expect(ours.stderr).toContain(kind);
      expect((await podman.run('ps', '-aq')).stdout).toBe('');
    });

    const who = `id; cat /proc/self/uid_map /proc/self/gid_map; grep -E '^Cap|^Groups' /proc/self/status; cat /proc/self/setgroups
      stat -c '%u:%g %a %n' / /bin/busybox /dev/pts /proc/sys /etc/hosts /run; touch /made && stat -c %u:%g /made`;

    test.each([['host'], ['auto'], ['auto:size=2000'], ['keep-id'], ['nomap']])(
      '--userns=%s: the same ids, maps, capabilities and owners, or the same error',
      async (mode) => {
        const run = (...options: string[]) =>
          podman.run(...options, 'run', '--rm', `--userns=${mode}`, 'busybox', 'sh', '-c', who);
        const [ours, theirs] = [await run(), await run('--runtime', 'runc')];
        expect({ code: ours.code, stdout: ours.stdout }, ours.stderr).toEqual({
          code: theirs.code,
          stdout: theirs.stdout,
        });
        if (theirs.code === 0) expect(theirs.stdout).toMatch(/^uid=0/);
        else expect(ours.stderr).toBe(theirs.stderr);
      },
    );

    test('--privileged: the same capabilities, devices and mounts', async () => {
      // core is a link that runc leaves out where the kernel has no /proc/kcore; of / the folders differ.
      const script = `grep -E '^Cap|^Seccomp:|^NoNew' /proc/self/status; cut -d ' ' -f 2-4 /proc/mounts | grep -v '^/ ' | sort
        cd /dev; for name in $(ls | grep -v core); do stat -c '%N %F %t:%T %a %u:%g' $name; done; readlink ptmx`;
      const run = (...options: string[]) =>
        podman.run(...options, 'run', '--rm', '--privileged', 'busybox', 'sh', '-c', script);
      const [ours, theirs] = [await run(), await run('--runtime', 'runc')];
      expect({ code: ours.code, stdout: ours.stdout }, ours.stderr).toEqual({ code: 0, stdout: theirs.stdout });
      expect(ours.stdout).toMatch(/pts\/ptmx\n$/);
    });
  });
});
