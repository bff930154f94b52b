/** User and time namespaces and idmapped mounts, seen from inside and from outside; where runc has them, the same for runc. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { differs, Runtime, runtimes } from './oci-support.ts';

const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
/** script(1) of bsdutils, essential in Debian. */
const scriptCommand = '/usr/bin/script';

function withUser(spec: Spec, path?: string): void {
  spec.linux!.namespaces!.push({ type: 'user', ...(path ? { path } : {}) });
  Object.assign(spec.linux!, { uidMappings: map, gidMappings: map });
}

describe.each(runtimes)('%s', needs({ root: true }), (name) => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
    chmodSync(oci.engine.folder, 0o755); // runc looks its root up as nobody
    chmodSync(oci.folder, 0o755);
  });

  afterAll(() => oci.end());

  const bundle = (script: string, change: (spec: Spec) => void) => {
    const folder = oci.bundle(script, change);
    chmodSync(folder, 0o755);
    return folder;
  };
  const run = (script: string, change: (spec: Spec) => void = () => {}) =>
    oci.run(
      bundle(script, (spec) => {
        withUser(spec);
        change(spec);
      }),
      'user',
    );

  test('root inside is somebody else outside, who has all there is of its namespaces', async () => {
    const folder = bundle('id -u; id -g; cat /proc/self/uid_map; while :; do sleep 0.1; done', withUser);
    const created = await oci.create(folder, 'outside', '--pid-file', `${folder}/pid`);
    expect(created.output()).toBe('');
    const pid = readFileSync(`${folder}/pid`, 'utf8');
    expect(await oci.call('start', 'outside')).toMatchObject({ code: 0, stderr: '' });
    await oci.untilStatus('outside', 'running');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t100000\t100000\t100000\t100000$/m);
    expect(status).toMatch(/^Gid:\t100000\t100000\t100000\t100000$/m);
    expect(status).toMatch(/^Groups:\t *$/m);
    expect(status).toMatch(/^NSpid:\t\d+\t1$/m);
    expect(await oci.call('kill', 'outside', '9')).toMatchObject({ code: 0 });
    await oci.untilStatus('outside', 'stopped');
    expect(created.output().split('\n').slice(0, 3)).toEqual(['0', '0', expect.stringMatching(/^ *0 +100000 +65536$/)]);
    expect(await oci.call('delete', 'outside')).toMatchObject({ code: 0, stderr: '' });
  });

  test('files it makes are the mapped ids’; those of the host’s root are nobody’s', async () => {
    const folder = bundle('touch /mnt/mine; stat -c "%u:%g" /mnt/mine /mnt/hosts', (spec) => {
      withUser(spec);
      spec.mounts!.push({ destination: '/mnt', type: 'bind', source: 'data', options: ['rbind'] });
    });
    mkdirSync(`${folder}/data`, { mode: 0o777 });
    chmodSync(`${folder}/data`, 0o777);
    writeFileSync(`${folder}/data/hosts`, '');
    expect(await oci.run(folder, 'files')).toMatchObject({ code: 0, stdout: '0:0\n65534:65534\n' });
    expect(statSync(`${folder}/data/mine`)).toMatchObject({ uid: 100000, gid: 100000 });
  });

  test('the default devices work, and the kernel’s filesystems are its own', async () => {
    const script = `echo x > /dev/null && dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c
      dd if=/dev/urandom bs=4 count=1 2>/dev/null | wc -c
      stat -c %T%t /dev/null; touch /dev/shm/x /dev/mqueue/y && ls /sys/class/net; cat /proc/1/comm; hostname`;
    const { stdout, stderr } = await run(script);
    expect({ stdout, stderr }).toEqual({ stdout: '1\n4\n31\nlo\nsh\ntinyctr\n', stderr: '' });
  });

  test('a terminal is the container’s user’s', async () => {
    const folder = bundle('stat -c %u /dev/pts/0 /dev/console; tty', (spec) => {
      withUser(spec);
      spec.process!.terminal = true;
      spec.process!.user = { uid: 1000, gid: 1000 };
    });
    const words = [...oci.command.slice(1), 'run', '--bundle', folder, 'tty'];
    const line = `${[oci.command[0], ...words].map((word) => `'${word}'`).join(' ')}`;
    const { stdout } = spawnSync(scriptCommand, ['-qec', line, '/dev/null'], { encoding: 'utf8' });
    expect(stdout).toMatch(/1000\r\n1000\r\n\/dev\/(console|pts\/0)\r\n(\^.)?$/);
  });

  test('its user can open the pipes that it was given by name', async () => {
    const change = (spec: Spec) => {
      spec.process!.user = { uid: 1000, gid: 1000 };
    };
    expect(await run('echo out > /dev/stdout; echo err > /dev/stderr', change)).toMatchObject({
      code: 0,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('groups and limits', async () => {
    const { stdout } = await run('id -G; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj', (spec) => {
      spec.process!.user.additionalGids = [5, 6];
      spec.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }];
      spec.process!.oomScoreAdj = 500;
    });
    expect(stdout).toBe('0 5 6\n100\n200\n500\n');
  });

  test('the namespaces of another container can be joined, the user namespace first of all', async () => {
    const first = bundle('while :; do sleep 0.1; done', withUser);
    await oci.create(first, 'first', '--pid-file', `${first}/pid`);
    await oci.call('start', 'first');
    const pid = readFileSync(`${first}/pid`, 'utf8');
    const links = ['user', 'net', 'ipc', 'uts', 'pid'];
    const second = bundle(
      `for n in ${links.join(' ')}; do ls -l /proc/self/ns/$n; done | sed 's/.*-> //'; id -u`,
      (spec) => {
        withUser(spec, `/proc/${pid}/ns/user`);
        delete spec.hostname;
        for (const one of spec.linux!.namespaces!) {
          const file = { network: 'net', ipc: 'ipc', uts: 'uts', pid: 'pid' }[one.type as string];
          if (file) one.path = `/proc/${pid}/ns/${file}`;
        }
      },
    );
    const { stdout, code } = await oci.run(second, 'second');
    const wanted = links.map((link) => spawnSync('readlink', [`/proc/${pid}/ns/${link}`], { encoding: 'utf8' }).stdout);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${wanted.join('')}0\n` });
    await oci.call('delete', '--force', 'first');
  });

  test('a namespace of another type at the path of a user namespace is refused', async () => {
    const folder = bundle('true', (spec) => withUser(spec, '/proc/self/ns/net'));
    expect((await oci.run(folder, 'type')).code).not.toBe(0);
  });

  test(
    'an unknown id of the process is refused before anything is made',
    differs(name, 'validation-first'),
    async () => {
      const { code, stderr } = await run('true', (spec) => {
        spec.process!.user.uid = 70000;
      });
      expect(code).toBe(1);
      expect(stderr).toContain('/process/user/uid is 70000, which /linux/uidMappings leaves out');
    },
  );

  test('the runtime’s own user namespace can’t be joined', differs(name, 'error-texts'), async () => {
    const folder = bundle('true', (spec) => withUser(spec, '/proc/self/ns/user'));
    const { code, stderr } = await oci.run(folder, 'own');
    expect(code).toBe(1);
    expect(stderr).toContain('the user namespace to join is the one that this runtime is in already');
  });

  test('a failure leaves no process and no cgroup', async () => {
    const before = spawnSync('pgrep', ['-cx', 'stage'], { encoding: 'utf8' }).stdout;
    const { code } = await run('true', (spec) => {
      spec.process!.args = ['/not/there'];
    });
    expect(code).toBe(1);
    expect(spawnSync('pgrep', ['-cx', 'stage'], { encoding: 'utf8' }).stdout).toBe(before);
    expect((await oci.call('list', '-q')).stdout).not.toContain('user');
  });

  describe('of a container that runs', () => {
    test('exec is one more process of its namespaces, with the container’s capabilities', async () => {
      const all = ['CAP_CHOWN', 'CAP_SYS_RESOURCE']; // the second is one that root lacks on many machines
      const folder = bundle('while :; do sleep 0.1; done', (spec) => {
        withUser(spec);
        spec.process!.capabilities = { bounding: all, effective: all, permitted: all };
      });
      await oci.create(folder, 'busy', '--pid-file', `${folder}/pid`);
      await oci.call('start', 'busy');
      const [uidMap, effective] = ['cat /proc/self/uid_map', 'grep CapEff /proc/self/status'];
      const root = await oci.call('exec', 'busy', 'sh', '-c', `id -u; ${uidMap}; ${effective}; echo x > /dev/stderr`);
      expect(root).toMatchObject({ code: 0, stderr: 'x\n' });
      expect(root.stdout).toMatch(/^0\n +0 +100000 +65536\nCapEff:\t0000000001000001\n$/);
      const user = await oci.call('exec', '--user', '1000:1000', 'busy', 'sh', '-c', 'id -u; echo y > /dev/stdout');
      expect(user).toMatchObject({ code: 0, stdout: '1000\ny\n' });
      await oci.call('delete', '--force', 'busy');
    });

    test('hooks: the container’s run as its root, in the root’s folder; the host’s as the host’s', async () => {
      const folder = bundle('true', (spec) => {
        withUser(spec);
        const hook = (file: string) => ({
          path: '/bin/sh',
          args: ['sh', '-c', `cat > /dev/null; pwd > ${file}; cat /proc/self/uid_map >> ${file}`],
        });
        const place = mkdtempSync(`${oci.engine.folder}/hooks-`);
        chmodSync(place, 0o777);
        spec.annotations = { place };
        spec.hooks = { createRuntime: [hook(`${place}/outside`)], createContainer: [hook(`${place}/inside`)] };
      });
      expect(await oci.run(folder, 'hooks')).toMatchObject({ code: 0, stderr: '' });
      const { annotations } = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Spec;
      const lines = (file: string) => readFileSync(`${annotations!.place}/${file}`, 'utf8').split('\n');
      expect(lines('outside')).toEqual([folder, expect.stringMatching(/^ +0 +0 +4294967295$/), '']);
      expect(lines('inside')).toEqual([`${folder}/rootfs`, expect.stringMatching(/^ +0 +100000 +65536$/), '']);
    });
  });

  describe('time', differs(name, 'newer-than-runc-1.1'), () => {
    test.each([true, false])('a namespace with offsets (user namespace: %s)', async (user) => {
      const folder = bundle('cat /proc/self/timens_offsets /proc/uptime', (spec) => {
        if (user) withUser(spec);
        spec.linux!.namespaces!.push({ type: 'time' });
        spec.linux!.timeOffsets = { monotonic: { secs: 1000, nanosecs: 7 }, boottime: { secs: 8640000 } };
      });
      const { code, stdout } = await oci.run(folder, 'time');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^monotonic +1000 +7\nboottime +8640000 +0\n/);
      const uptime = Number(/\n(\d+)\.\d+ [^\n]*\n$/.exec(stdout)![1]);
      expect(uptime - Number(readFileSync('/proc/uptime', 'utf8').split('.')[0])).toBeGreaterThan(8640000 - 60);
    });

    test('an offset that the kernel refuses', async () => {
      const folder = bundle('true', (spec) => {
        spec.linux!.namespaces!.push({ type: 'time' });
        spec.linux!.timeOffsets = { boottime: { secs: -(2 ** 40) } };
      });
      const { code, stderr } = await oci.run(folder, 'time');
      expect(code).toBe(1);
      expect(stderr).toContain('the kernel refuses the time offsets (ERANGE): boottime -1099511627776 0');
      expect(stderr).toContain('spec field: /linux/timeOffsets');
    });

    test('one that is joined', async () => {
      const first = bundle('while :; do sleep 0.1; done', (spec) => {
        spec.linux!.namespaces!.push({ type: 'time' });
        spec.linux!.timeOffsets = { boottime: { secs: 5000 } };
      });
      await oci.create(first, 'first', '--pid-file', `${first}/pid`);
      await oci.call('start', 'first');
      await oci.untilStatus('first', 'running');
      const pid = readFileSync(`${first}/pid`, 'utf8');
      const second = bundle('cat /proc/self/timens_offsets', (spec) => {
        spec.linux!.namespaces!.push({ type: 'time', path: `/proc/${pid}/ns/time` });
      });
      expect((await oci.run(second, 'second')).stdout).toMatch(/\nboottime +5000 +0\n/);
      await oci.call('delete', '--force', 'first');
    });
  });

  describe('idmapped mounts', differs(name, 'newer-than-runc-1.1'), () => {
    const withData = (folder: string, mount: object, user: boolean) => (spec: Spec) => {
      if (user) withUser(spec);
      spec.mounts!.push({ destination: '/mnt', type: 'bind', source: folder, ...mount });
    };
    const data = () => {
      const folder = mkdtempSync(`${oci.engine.folder}/data-`);
      writeFileSync(`${folder}/roots`, 'x', { mode: 0o600 });
      writeFileSync(`${folder}/annas`, 'x');
      chownSync(`${folder}/annas`, 1000, 1000);
      chmodSync(folder, 0o755);
      return folder;
    };
    const look = 'stat -c %u:%g /mnt/roots /mnt/annas; touch /mnt/new; cat /mnt/roots';

    test('idmap: files of the host’s root are those of root in the container, both ways', async () => {
      const folder = data();
      const { stdout, stderr } = await oci.run(
        bundle(look, withData(folder, { options: ['rbind', 'idmap'] }, true)),
        'map',
      );
      expect({ stdout, stderr }).toEqual({ stdout: '0:0\n1000:1000\nx', stderr: '' });
      expect(statSync(`${folder}/new`)).toMatchObject({ uid: 0, gid: 0 });
    });

    test('maps of the mount’s own, without a user namespace', async () => {
      const folder = data();
      chownSync(folder, 1000, 1000);
      const own = [{ containerID: 1000, hostID: 0, size: 1 }];
      const mount = { options: ['rbind'], uidMappings: own, gidMappings: own };
      const { stdout } = await oci.run(
        bundle('stat -c %u:%g /mnt/annas /mnt/roots; touch /mnt/new', withData(folder, mount, false)),
        'map',
      );
      expect(stdout).toBe('0:0\n65534:65534\n');
      expect(statSync(`${folder}/new`)).toMatchObject({ uid: 1000, gid: 1000 });
    });

    test.each([
      ['idmap', '0 65534'],
      ['ridmap', '0 0'],
    ])('%s: files are seen as owned by %s, those of the mount and of one below', async (option, owners) => {
      const folder = data();
      mkdirSync(`${folder}/below`);
      const script = `mount --bind ${data()} ${folder}/below && exec "$@"`;
      const one = bundle(
        'echo $(stat -c %u /mnt/roots /mnt/below/roots)',
        withData(folder, { options: ['rbind', option] }, true),
      );
      const words = ['-m', 'sh', '-c', script, 'sh', ...oci.command, 'run', '--bundle', one, 'map'];
      expect(spawnSync('unshare', words, { encoding: 'utf8' }).stdout).toBe(`${owners}\n`);
    });

    test('a filesystem that can’t is named', async () => {
      const mount = { source: '/proc/fs', options: ['rbind', 'idmap'] };
      const { code, stderr } = await oci.run(bundle('true', withData('', mount, true)), 'map');
      expect(code).toBe(1);
      expect(stderr).toContain("/proc/fs lies on proc, which can't be idmapped");
    });
  });
});
