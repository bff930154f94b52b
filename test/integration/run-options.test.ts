/** Each option of `tinyctr run` for users, environment, capabilities, limits and namespaces, seen from inside. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { need, needs } from '../support/need.ts';
import { Engine, scratch, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

/** Runs the script and expects exactly this output and nothing else. */
async function expectOutput(script: string, options: string[], stdout: string | RegExp): Promise<void> {
  const result = await engine.shell(script, ...options);
  const matcher = typeof stdout === 'string' ? stdout : expect.stringMatching(stdout);
  expect(result).toEqual({ code: 0, signal: null, stderr: '', stdout: matcher });
}

async function expectRefusal(options: string[], message: RegExp): Promise<void> {
  const result = await engine.shell('echo it ran', ...options);
  expect(result).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) });
  expect(result.stderr).toMatch(/^tinyctr: /);
}

describe('-u and --group-add', needs({ root: true }), () => {
  let image: string;
  beforeAll(async () => {
    image = await engine.image((rootfs) => {
      writeFileSync(
        `${rootfs}/etc/passwd`,
        ['root:x:0:0:root:/root:/bin/sh', 'www:x:33:34::/srv:/bin/sh', '1500:x:77:78::/digits:/bin/sh'].join('\n'),
      );
      writeFileSync(`${rootfs}/etc/group`, ['root:x:0:', 'web:x:34:', 'extra:x:50:www,root', 'tty:x:5:www'].join('\n'));
    });
  });

  test.each([
    ['0', [], 'uid=0 gid=0 groups=0 50 /root'],
    ['root', [], 'uid=0 gid=0 groups=0 50 /root'],
    ['www', [], 'uid=33 gid=34 groups=5 34 50 /srv'],
    ['www:root', [], 'uid=33 gid=0 groups=0 /srv'],
    ['www:1234', [], 'uid=33 gid=1234 groups=1234 /srv'],
    ['33', [], 'uid=33 gid=34 groups=5 34 50 /srv'],
    ['1000', [], 'uid=1000 gid=0 groups=0 /'],
    ['1000:1001', [], 'uid=1000 gid=1001 groups=1001 /'],
    ['1500', [], 'uid=77 gid=78 groups=78 /digits'],
    ['4294967294:4294967294', [], 'uid=4294967294 gid=4294967294 groups=4294967294 /'],
    ['1000', ['--group-add', '7', '--group-add', 'web'], 'uid=1000 gid=0 groups=0 7 34 /'],
  ])('-u %s %j', async (user, options, expected) => {
    const script =
      'awk "/^Uid|^Gid/ { print \\$2, \\$3, \\$4, \\$5 } /^Groups/ { \\$1 = \\"\\"; print }" /proc/self/status; echo $HOME';
    const { stdout, stderr } = await engine.run('run', '--rm', '-u', user, ...options, image, 'sh', '-c', script);
    const [, uid, gid, groups, home] = /^uid=(\d+) gid=(\d+) groups=([\d ]+) (\/.*)$/.exec(expected)!;
    const four = (id: string) => Array(4).fill(id).join(' ');
    expect(stderr).toBe('');
    expect(stdout).toBe(`${four(uid!)}\n${four(gid!)}\n ${groups}\n${home}\n`);
  });

  test('an ordinary user has no effective capabilities, and cannot gain them', async () => {
    const script = 'grep -E "^Cap(Inh|Prm|Eff|Amb)" /proc/self/status | cut -f 2 | sort -u';
    await expectOutput(script, ['-u', '1000'], '0000000000000000\n');
  });

  test.each([
    ['no-such-user', /there is no user "no-such-user" in the container's \/etc\/passwd/],
    ['root:no-such-group', /there is no group "no-such-group" in the container's \/etc\/group/],
  ])('-u %s is refused', (user, message) => expectRefusal(['-u', user], message));

  test('--group-add of a group that is not there is refused', () =>
    expectRefusal(['--group-add', 'nowhere'], /there is no group "nowhere"/));

  test('a directory in the place of /etc/passwd: ids work, names don’t', async () => {
    const strange = await engine.image((rootfs) => {
      writeFileSync(`${rootfs}/moved`, '');
      for (const name of ['passwd', 'group']) {
        runProgramSync('rm', `${rootfs}/etc/${name}`);
      }
    });
    expect(await engine.run('run', '--rm', '-u', '5:6', strange, 'id', '-u')).toMatchObject({ code: 0, stdout: '5\n' });
    expect(await engine.run('run', '--rm', '-u', 'root', strange, 'id')).toMatchObject({ code: 125, stdout: '' });
  });
});

describe('environment', needs({ root: true }), () => {
  test('-e, --env-file and the host’s variables; the last one wins', async () => {
    const file = `${scratch(engine)}/env`;
    writeFileSync(file, '# a comment\nFROM_FILE=a "b" \nBOTH=file\nPASSED\n\nNOT_THERE\n');
    const options = ['--env-file', file, '-e', 'BOTH=option', '-e', 'EMPTY=', '-e', 'HANDED', '-e', 'MISSING'];
    const env = { PASSED: 'p', HANDED: 'h', SECRET: 's' };
    const { stdout } = await engine.runWith({ env }, 'run', '--rm', ...options, 'busybox', 'env');
    expect(
      stdout
        .split('\n')
        .filter((line) => !/^(PATH|HOSTNAME|HOME)=|^$/.test(line))
        .toSorted(),
    ).toEqual(['BOTH=option', 'EMPTY=', 'FROM_FILE=a "b" ', 'HANDED=h', 'PASSED=p']);
  });

  test('-e NAME without a value takes a default away', () =>
    expectOutput('env | grep -c ^HOSTNAME= || true', ['-e', 'HOSTNAME'], '0\n'));

  test('HOME and PATH can be set', () =>
    expectOutput('echo $HOME $PATH', ['-e', 'HOME=/x', '-e', 'PATH=/bin:/y'], '/x /bin:/y\n'));

  test('a missing --env-file is refused', () =>
    expectRefusal(['--env-file', '/no/such'], /--env-file \/no\/such can't be read/));

  // SEC-20: nothing is cut off, whatever the frames between tinyctr and the container's process may hold.
  test.each([
    [100, 10_000],
    [8, 125_000],
  ])('%i variables of %i bytes arrive whole', async (count, size) => {
    const file = `${scratch(engine)}/env`;
    writeFileSync(file, Array.from({ length: count }, (_, i) => `V${i}=${String(i % 10).repeat(size)}\n`).join(''));
    const { stdout, code } = await engine.run('run', '--rm', '--env-file', file, 'busybox', 'env');
    expect(code).toBe(0);
    const values = stdout.split('\n').filter((line) => line.startsWith('V'));
    expect(values).toEqual(Array.from({ length: count }, (_, i) => `V${i}=${String(i % 10).repeat(size)}`));
  });

  async function expectTooLong(file: string): Promise<void> {
    const { code, stdout, stderr } = await engine.shell('echo it ran', '--env-file', file);
    expect({ code, stdout }).toEqual({ code: 126, stdout: '' });
    expect(stderr).toMatch(/^tinyctr: exec: "\/bin\/sh": argument list too long\n/);
    expect(stderr.length).toBeLessThan(2000);
  }

  test('a variable longer than the kernel takes is a clear error', async () => {
    const file = `${scratch(engine)}/env`;
    writeFileSync(file, `LONG=${'x'.repeat(200_000)}\n`);
    await expectTooLong(file);
  });

  test('four megabytes of variables are a clear error', async () => {
    const file = `${scratch(engine)}/env`;
    writeFileSync(file, Array.from({ length: 64 }, (_, i) => `V${i}=${'x'.repeat(65_536)}\n`).join(''));
    await expectTooLong(file);
  });

  test('arguments of 100 kB each arrive whole', async () => {
    const words = Array.from({ length: 8 }, (_, i) => String(i).repeat(100_000));
    const { stdout } = await engine.run(
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'for w; do echo "$w"; done',
      'sh',
      ...words,
    );
    expect(stdout.split('\n').slice(0, -1)).toEqual(words);
  });
});

describe('working directory, entrypoint, names', needs({ root: true }), () => {
  test('-w, made when it is not there', () =>
    expectOutput('pwd; stat -c %a:%u .', ['-w', '/not/there'], '/not/there\n755:0\n'));
  test('-w that is a file is refused', () =>
    expectRefusal(['-w', '/etc/passwd'], /working directory \/etc\/passwd is not a directory/));
  test('-w that is relative is refused', () => expectRefusal(['-w', 'tmp'], /--workdir 'tmp' is not an absolute path/));

  test('--entrypoint takes the command’s place, the words are its arguments', async () => {
    const result = await engine.run('run', '--rm', '--entrypoint', 'echo', 'busybox', 'a', 'b');
    expect(result).toMatchObject({ code: 0, stdout: 'a b\n' });
  });

  test('--hostname', () =>
    expectOutput(
      'hostname; cat /etc/hostname; echo $HOSTNAME',
      ['-h', 'some.host'],
      'some.host\nsome.host\nsome.host\n',
    ));
  test('a bad --hostname is refused', () =>
    expectRefusal(['--hostname', 'a b'], /--hostname 'a b' is not a host name/));

  test('--name: the second container of that name is refused and leaves nothing', async () => {
    await engine.run('run', '--name', 'one', 'busybox', 'true');
    const second = await engine.run('run', '--name', 'one', 'busybox', 'true');
    const id = engine.containers()[0]!;
    expect(second).toMatchObject({
      code: 125,
      stderr: expect.stringContaining(`the name one is in use by container ${id.slice(0, 12)}`),
    });
    expect(engine.containers()).toEqual([id]);
    expect(engine.states()).toEqual([]);
    await engine.run('rm', 'one');
    expect(await engine.run('run', '--rm', '--name', 'one', 'busybox', 'true')).toMatchObject({ code: 0 });
  });

  test('--label is kept with the container', async () => {
    await engine.run('run', '--name', 'labelled', '-l', 'a.b=c d', '-l', 'e', 'busybox', 'true');
    const record = JSON.parse(
      readFileSync(`${engine.root}/containers/${engine.containers()[0]}/container.json`, 'utf8'),
    );
    expect(record.labels).toEqual({ 'a.b': 'c d', e: '' });
    await engine.run('rm', 'labelled');
  });

  test('--cidfile holds the id and is never overwritten', async () => {
    const file = `${scratch(engine)}/cid`;
    await engine.run('run', '--rm', '--cidfile', file, 'busybox', 'true');
    const id = readFileSync(file, 'utf8');
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    await expectRefusal(['--cidfile', file], /exists already/);
    expect(readFileSync(file, 'utf8')).toBe(id);
  });

  test('--cidfile of a container that could not start is not left', async () => {
    const file = `${scratch(engine)}/cid`;
    await engine.run('run', '--rm', '--cidfile', file, 'busybox', 'no-such-command');
    expect(existsSync(file)).toBe(false);
  });

  test('--stop-signal is kept with the container, nonsense refused', async () => {
    await engine.run('run', '--name', 'stops', '--stop-signal', 'usr1', 'busybox', 'true');
    const record = JSON.parse(
      readFileSync(`${engine.root}/containers/${engine.containers()[0]}/container.json`, 'utf8'),
    );
    expect(record.stopSignal).toBe(10);
    await engine.run('rm', 'stops');
    await expectRefusal(['--stop-signal', 'SIGNONE'], /--stop-signal 'SIGNONE' is not a signal/);
  });
});

describe('capabilities and security', needs({ root: true }), () => {
  const bounding = 'grep CapBnd /proc/self/status | cut -f 2';
  test('--cap-drop ALL', () => expectOutput(bounding, ['--cap-drop', 'ALL'], '0000000000000000\n'));
  test('--cap-drop ALL --cap-add chown', () =>
    expectOutput(bounding, ['--cap-drop', 'all', '--cap-add', 'chown'], '0000000000000001\n'));
  test('--cap-add CAP_NET_ADMIN', () => expectOutput(bounding, ['--cap-add', 'CAP_NET_ADMIN'], '00000000a80435fb\n'));
  test('a capability that there is not is refused', () => expectRefusal(['--cap-add', 'NET_ADMINN'], /NET_ADMIN/));

  test('--cap-drop chown is felt', async () => {
    const result = await engine.shell('chown 1 /tmp', '--cap-drop', 'CHOWN');
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('Operation not permitted') });
  });

  test('--cap-add opens the seccomp filter for what the capability is about', async () => {
    const script = 'mkdir /m && mount -t tmpfs none /m && echo mounted';
    expect((await engine.shell(script)).stdout).toBe('');
    await expectOutput(script, ['--cap-add', 'SYS_ADMIN'], 'mounted\n');
  });

  test('--security-opt no-new-privileges stops setuid', async () => {
    const image = await engine.image((rootfs) => runProgramSync('cp', `${rootfs}/bin/busybox`, `${rootfs}/bin/su-id`));
    // busybox drops setuid rights of its own accord: a copy that is only setuid shows the effective id by stat of a new file.
    const words = ['-u', '1000', image, 'sh', '-c', 'grep ^NoNewPrivs /proc/self/status'];
    expect((await engine.run('run', '--rm', '--security-opt', 'no-new-privileges:true', ...words)).stdout).toBe(
      'NoNewPrivs:\t1\n',
    );
    expect((await engine.run('run', '--rm', '--security-opt', 'no-new-privileges=false', ...words)).stdout).toBe(
      'NoNewPrivs:\t0\n',
    );
  });

  test('--security-opt seccomp=unconfined', () =>
    expectOutput('grep ^Seccomp: /proc/self/status', ['--security-opt', 'seccomp=unconfined'], 'Seccomp:\t0\n'));

  test('--security-opt seccomp=FILE', async () => {
    const file = `${scratch(engine)}/profile.json`;
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }],
    };
    writeFileSync(file, JSON.stringify(profile));
    const result = await engine.shell('mkdir /x', '--security-opt', `seccomp=${file}`);
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/not supported/) });
  });

  test('a damaged profile is refused', async () => {
    const file = `${scratch(engine)}/profile.json`;
    writeFileSync(file, '{');
    await expectRefusal(['--security-opt', `seccomp=${file}`], /is not JSON/);
    writeFileSync(file, '{"defaultAction": "SCMP_ACT_NONSENSE"}');
    await expectRefusal(['--security-opt', `seccomp=${file}`], /SCMP_ACT_NONSENSE/);
  });

  test('--security-opt systempaths=unconfined takes masks and read-only paths away', () =>
    expectOutput(
      'grep -cE " /proc/[^ ]+ | /sys/firmware " /proc/self/mountinfo || true',
      ['--security-opt', 'systempaths=unconfined'],
      '0\n',
    ));

  test('--privileged: all that tinyctr has, no filter, nothing masked, the host’s devices', async () => {
    const own = /^CapPrm:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
    const script = [
      'grep -E "^CapEff|^Seccomp:" /proc/self/status | cut -f 2',
      'grep -cE " /proc/[^ ]+ | /sys/firmware " /proc/self/mountinfo',
      'grep " /sys " /proc/self/mountinfo | cut -d " " -f 6 | cut -d , -f 1',
      'for f in /dev/*; do if [ -b $f ]; then echo $f; fi; done | sort',
    ];
    const disks = readdirSync('/dev')
      .map((name) => `/dev/${name}`)
      .filter((path) => lstatSync(path).isBlockDevice())
      .sort();
    expect(disks.length).toBeGreaterThan(0);
    await expectOutput(`${script.join(';')}`, ['--privileged'], `${own}\n0\n0\nrw\n${disks.join('\n')}\n`);
  });

  test('an unknown --security-opt is refused', () => expectRefusal(['--security-opt', 'secomp=unconfined'], /secomp/));
});

describe('limits', needs({ root: true }), () => {
  test('--ulimit', () =>
    expectOutput(
      'grep -E "open files|core file|stack size" /proc/self/limits | tr -s " "',
      ['--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--ulimit', 'stack=1048576:1048576'],
      'Max stack size 1048576 1048576 bytes \nMax core file size 0 0 bytes \nMax open files 100 200 files \n',
    ));

  test.each([
    ['nofile=2:1', /soft limit 2 of nofile is above its hard limit 1/],
    ['nofiles=1', /did you mean nofile/],
    ['nofile=x', /'x' is neither a whole number nor -1/],
  ])('--ulimit %s is refused (E15)', (text, message) => expectRefusal(['--ulimit', text], message));

  test('--ulimit above what tinyctr itself may is an error that names it', async (context) => {
    const reason = need({ capability: 'CAP_SYS_RESOURCE' });
    context.skip(reason === undefined, 'with CAP_SYS_RESOURCE every limit can be raised');
    await expectRefusal(['--ulimit', 'nofile=10000000:10000000'], /nofile|NOFILE/);
  });

  const controllers = readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').trim().split(' ');
  test.each([
    ['memory', ['--memory', '64m'], 'memory limit'],
    ['cpu', ['--cpus', '0.5'], 'CPU limit'],
    ['cpu', ['--cpu-shares', '512'], 'CPU share'],
    ['pids', ['--pids-limit', '50'], 'limit of processes'],
  ])('without the %s controller %j is refused, with its name and the fix', async (controller, options, what) => {
    const result = await engine.shell('echo it ran', ...options);
    if (controllers.includes(controller)) return expect(result).toMatchObject({ code: 0, stdout: 'it ran\n' });
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr).toMatch(
      new RegExp(`the ${what}[^:]* can't be kept: the ${controller} controller is not in cgroup v2`),
    );
    expect(result.stderr).toMatch(/bound to cgroup v1 at \/sys\/fs\/cgroup\/|cgroup_disable=/);
    expect(result.stderr).toMatch(/hint: /);
  });

  test.each([
    [['--memory', '1m'], /at least 6m is needed/],
    [['--memory', 'lots'], /--memory 'lots'/],
    [['--cpus', '1000000'], /the host has \d+ processors/],
    [['--cpu-shares', '1'], /--cpu-shares/],
    [['--pids-limit', '1.5'], /--pids-limit/],
  ])('%j is refused (E17)', (options, message) => expectRefusal(options, message));
});

describe('namespaces', needs({ root: true }), () => {
  const host = (type: string) => readlinkSync(`/proc/self/ns/${type}`);

  test('--network host: the host’s network, its names too', async () => {
    await expectOutput(
      'readlink /proc/self/ns/net; hostname',
      ['--network', 'host'],
      `${host('net')}\n${hostname()}\n`,
    );
  });

  test('--network none: loopback only', () =>
    expectOutput('ip -o link | wc -l; ls /sys/class/net', ['--network', 'none'], /^\d+\n(?:\w+\n)*lo\n/));

  test('--pid host sees the host’s processes, as itself', async () => {
    await expectOutput(
      'readlink /proc/self/ns/pid; [ -d /proc/2 ] || [ $$ -gt 2 ] && echo many',
      ['--pid', 'host'],
      `${host('pid')}\nmany\n`,
    );
  });

  test('--pid host: what it leaves running ends with it', async () => {
    const started = Date.now();
    const { code, stdout } = await engine.shell('sleep 1000 & echo $!', '--pid', 'host');
    expect(code).toBe(0);
    expect(Date.now() - started).toBeLessThan(8000);
    await until('the container’s sleep has ended', () => !existsSync(`/proc/${stdout.trim()}`));
  });

  test('--ipc host and --uts host', async () => {
    await expectOutput('readlink /proc/self/ns/ipc', ['--ipc', 'host'], `${host('ipc')}\n`);
    await expectOutput('readlink /proc/self/ns/uts; hostname', ['--uts', 'host'], `${host('uts')}\n${hostname()}\n`);
    const other = await engine.shell('readlink /proc/self/ns/ipc', '--ipc', 'private');
    expect(other.stdout).not.toBe(`${host('ipc')}\n`);
  });

  test.each([
    [['--network', 'bridge'], /--network 'bridge' is not there yet/],
    [['--pid', 'container:x'], /--pid 'container:x' is not there yet/],
    [['--uts', 'host', '--hostname', 'x'], /--hostname and --uts=host exclude each other/],
    [['--init', '--pid', 'host'], /--init and --pid=host exclude each other/],
    [['--ipc', 'host', '--shm-size', '1m'], /--shm-size and --ipc=host exclude each other/],
  ])('%j is refused', (options, message) => expectRefusal(options, message));

  test('--sysctl is set in the container and not on the host (SEC-07)', async () => {
    const file = '/proc/sys/kernel/msgmax';
    const before = readFileSync(file, 'utf8');
    await expectOutput(
      `cat ${file} /proc/sys/net/ipv4/ip_default_ttl`,
      ['--sysctl', 'kernel.msgmax=1234', '--sysctl', 'net.ipv4.ip_default_ttl=77'],
      '1234\n77\n',
    );
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(before.trim()).not.toBe('1234');
    expect(readFileSync('/proc/sys/net/ipv4/ip_default_ttl', 'utf8').trim()).not.toBe('77');
  });

  test.each([
    ['kernel.core_pattern=x', /would change the host/],
    ['vm.swappiness=1', /would change the host/],
    ['kernel.msgmax/../core_pattern=x', /is not a sysctl name/],
    ['net.ipv4.ip_default_ttl=abc', /sysctl net\.ipv4\.ip_default_ttl: the kernel refuses "abc"/],
    ['net.ipv4.no_such_setting=1', /this kernel has no such setting/],
  ])('--sysctl %s is refused (SEC-12)', (text, message) => expectRefusal(['--sysctl', text], message));

  test('--sysctl of a namespace that is the host’s is refused', () =>
    expectRefusal(
      ['--network', 'host', '--sysctl', 'net.ipv4.ip_default_ttl=77'],
      /whose network namespace the container shares/,
    ));

  test('--dns and --add-host', () =>
    expectOutput(
      'cat /etc/resolv.conf | grep ^nameserver; tail -n 2 /etc/hosts',
      ['--dns', '192.0.2.1', '--dns', '2001:db8::1', '--add-host', 'a:192.0.2.7', '--add-host', 'b=[2001:db8::2]'],
      'nameserver 192.0.2.1\nnameserver 2001:db8::1\n192.0.2.7\ta\n2001:db8::2\tb\n',
    ));

  test.each([
    [['--dns', 'example'], /--dns 'example' is not an IP address/],
    [['--add-host', 'x'], /--add-host/],
  ])('%j is refused', (options, message) => expectRefusal(options, message));
});

describe('what is not there is refused by name', needs({ root: true }), () => {
  test.each([
    [['-p', '80:80'], /--publish/],
    [['--restart', 'always'], /--restart/],
    [['--gpus', 'all'], /--gpus/],
    [['--memory-swappiness', '10'], /--memory-swappiness is of cgroup v1: .*vm\.swappiness/],
    [['--kernel-memory', '1g'], /--kernel-memory is of cgroup v1/],
    [['--oom-kill-disable'], /--oom-kill-disable is of cgroup v1/],
    [['--memory-swap', '1g'], /--memory-swap '1g' .* needs --memory/],
    [['--cpuset-cpus', '99'], /--cpuset-cpus '99': the host's processors are .*, 99 is not there/],
    [['--device-read-bps', '/dev/null:1mb'], /\/dev\/null is no block device/],
    [['--volumes-from', 'other'], /--volumes-from .*not there yet/],
    [['--mount', 'type=volume,dst=/x,volume-driver=nfs'], /volume-driver is refused: there are no drivers/],
    [['--security-opt', 'apparmor=x'], /apparmor.*not there yet/],
  ])('%j', (options, message) => expectRefusal(options, message));
});

test('--cgroupns host and --cgroup-parent: the container sees its whole path', needs({ root: true }), async () => {
  const options = ['--cgroupns', 'host', '--cgroup-parent', 'tinyctr/parent'];
  const { stdout, stderr } = await engine.run('run', '--rm', ...options, 'busybox', 'cat', '/proc/self/cgroup');
  expect(stdout, stderr).toMatch(/^0::\/tinyctr\/parent\/[0-9a-f]{64}$/m);
  rmdirSync(`${cgroupRoot()}/tinyctr/parent`); // empty, and the caller's: it stays
});

describe('--init', needs({ root: true }), () => {
  test('process 1 is an init, the command its child with the same arguments', async () => {
    const script = 'tr "\\\\0" " " < /proc/1/comm; cat /proc/1/comm; echo $$ $PPID "$0" "$@"';
    const { code, stdout } = await engine.run('run', '--rm', '--init', 'busybox', 'sh', '-c', script, 'name', 'a b');
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines.at(-1)).toMatch(/^[2-9] 1 name a b$/);
    expect(lines[0]).not.toContain('sh');
  });

  test('its status is the command’s', async () => {
    expect(await engine.run('run', '--rm', '--init', 'busybox', 'sh', '-c', 'exit 9')).toMatchObject({ code: 9 });
    expect(await engine.run('run', '--rm', '--init', 'busybox', 'sh', '-c', 'kill -9 $$')).toMatchObject({ code: 137 });
  });

  test('it reaps what others leave', async () => {
    const script = '(sleep 0.1 & ) ; sleep 0.5; grep -l "^State:.*Z" /proc/[0-9]*/status 2>/dev/null | wc -l';
    expect(await engine.run('run', '--rm', '--init', 'busybox', 'sh', '-c', script)).toMatchObject({ stdout: '0\n' });
  });

  test('it passes signals on: a command without a handler dies of SIGTERM', async () => {
    const onStdout = (_: string, child: ChildProcess) => void child.kill('SIGTERM');
    const started = Date.now();
    const result = await engine.runWith(
      { onStdout },
      'run',
      '--rm',
      '--init',
      'busybox',
      'sh',
      '-c',
      'echo ready; exec sleep 60',
    );
    expect(result).toMatchObject({ code: 143, stdout: 'ready\n' });
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  test('a command that is not there is 127, one that can’t be executed 126', async () => {
    expect(await engine.run('run', '--rm', '--init', 'busybox', 'nothing-here')).toMatchObject({ code: 127 });
    expect(await engine.run('run', '--rm', '--init', 'busybox', '/etc/passwd')).toMatchObject({ code: 126 });
  });

  test('it has the command’s user and no capabilities', async () => {
    const script = 'grep -E "^Uid|^CapEff|^CapInh|^Seccomp:" /proc/1/status | cut -f 2';
    const { stdout } = await engine.run('run', '--rm', '--init', '-u', '1000', 'busybox', 'sh', '-c', script);
    expect(stdout).toBe('1000\n0000000000000000\n0000000000000000\n2\n');
  });
});

function runProgramSync(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}
