/** The life of podman's containers with tinyctr-oci in runc's place, pods, podman build, and how the README registers it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Podman, podmanNeeds } from '../support/podman.ts';
import { checkout, ociProgram, runProgram } from '../support/tinyctr.ts';

describe('podman', needs(podmanNeeds), () => {
  let podman: Podman;

  beforeAll(async () => {
    podman = await Podman.start();
  });
  afterAll(() => podman.end());

  const waiting = 'trap "echo ending; exit 3" TERM; echo up; while :; do sleep 0.05; done';
  const idle = ['busybox', 'sh', '-c', waiting];
  /** Its standard output; fails with what it said. */
  async function must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await podman.run(...words);
    expect({ words, code, stderr: code === 0 ? '' : stderr }).toEqual({ words, code: 0, stderr: '' });
    return stdout;
  }
  const stateOf = (name: string) =>
    must('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}', name);
  const remove = (...names: string[]) => must('rm', '-f', '-t', '0', ...names);

  test('logs, top, pause, unpause, stop, start, restart, kill, wait, rm', async () => {
    await must('run', '-d', '--name', 'life', ...idle);
    await must('exec', 'life', 'sh', '-c', 'until grep -q "SigCgt:.*4...$" /proc/1/status; do sleep 0.05; done'); // the trap is set
    expect(await must('logs', 'life')).toBe('up\n');
    expect(await must('top', 'life', 'pid', 'user')).toMatch(/^PID +USER *\n1 +root/);
    expect((await must('exec', '-d', 'life', 'sleep', '500')) && (await must('top', 'life', 'args'))).toContain(
      'sleep 500',
    );
    await must('pause', 'life');
    expect(await must('ps', '-a', '--format', '{{.Status}}')).toMatch(/paused/i);
    expect((await podman.run('exec', 'life', 'true')).stderr).toContain('container state improper');
    await must('unpause', 'life');
    await must('stop', 'life');
    expect(await stateOf('life')).toBe('exited 3 false\n');
    expect(await must('logs', 'life')).toBe('up\nending\n');
    expect((await podman.run('kill', 'life')).stderr).toContain('can only kill running containers');
    await must('start', 'life');
    await must('restart', '-t', '0', 'life');
    expect(await stateOf('life')).toBe('running 0 false\n');
    await must('kill', 'life');
    expect(await must('wait', 'life')).toBe('137\n');
    expect(await stateOf('life')).toBe('exited 137 false\n');
    await must('rm', 'life');
    expect(await must('ps', '-aq')).toBe('');
  });

  test('create, init and start -a; rm -f of one that only is created, runs, or is paused', async () => {
    await must('create', '--name', 'made', 'busybox', 'sh', '-c', 'echo ran; exit 9');
    await must('init', 'made');
    expect(await stateOf('made')).toBe('initialized 0 false\n');
    expect(await podman.run('start', '-a', 'made')).toMatchObject({ code: 9, stdout: 'ran\n' });
    await must('create', '--name', 'waits', ...idle);
    await must('init', 'waits');
    await must('run', '-d', '--name', 'frozen', ...idle);
    await must('pause', 'frozen');
    await must('run', '-d', '--name', 'deaf', 'busybox', 'sleep', '1000');
    await remove('made', 'waits', 'frozen', 'deaf');
    expect(await must('ps', '-aq')).toBe('');
  });

  test('what shares the host’s pids ends with its container', async () => {
    await must('run', '-d', '--name', 'open', '--pid', 'host', 'busybox', 'sh', '-c', 'sleep 7654321 & sleep 7654321');
    await must('stop', '-t', '0', 'open');
    await must('rm', 'open');
    const { stdout } = await runProgram('ps', ['-eo', 'args']);
    expect(stdout.split('\n').filter((line) => line === 'sleep 7654321')).toEqual([]);
  });

  test('--restart on-failure starts it again', async () => {
    await must('run', '-d', '--restart', 'on-failure:2', '--name', 'again', 'busybox', 'sh', '-c', 'echo once; exit 5');
    for (let tries = 0; tries < 100 && (await must('logs', 'again')) !== 'once\n'.repeat(3); tries++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    await must('wait', 'again');
    expect(await must('inspect', '--format', '{{.State.ExitCode}} {{.RestartCount}}', 'again')).toBe('5 2\n');
    await remove('again');
  });

  test('update: the limit, or whose controller is missing', async () => {
    await must('run', '-d', '--name', 'limited', 'busybox', 'sleep', '1000');
    const path = `/sys/fs/cgroup${(await must('inspect', '--format', '{{.State.CgroupPath}}', 'limited')).trim()}`;
    const read = async (file: string) =>
      (await runProgram(podman.command[0]!, [...podman.command.slice(1, 5), 'cat', file])).stdout;
    const { code, stderr } = await podman.run('update', '--memory', '100m', 'limited');
    if ((await read('/sys/fs/cgroup/cgroup.controllers')).includes('memory')) {
      expect({ code, limit: await read(`${path}/memory.max`) }).toEqual({ code: 0, limit: `${100 << 20}\n` });
    } else {
      expect(code).toBe(125);
      expect(stderr).toContain('the memory controller is not in cgroup v2');
    }
    await remove('limited');
  });

  test('cp, diff, export, commit of a container that runs', async () => {
    await must('run', '-d', '--name', 'source', 'busybox', 'sleep', '1000');
    writeFileSync(`${podman.engine.folder}/file`, 'copied\n');
    await must('cp', `${podman.engine.folder}/file`, 'source:/tmp/file');
    expect(await must('exec', 'source', 'cat', '/tmp/file')).toBe('copied\n');
    expect(await must('diff', 'source')).toContain('A /tmp/file\n');
    await must('commit', '-q', 'source', 'committed');
    expect(await must('run', '--rm', 'committed', 'cat', '/tmp/file')).toBe('copied\n');
    await remove('source');
  });

  test('a pod without an infra container', async () => {
    await must('pod', 'create', '--infra=false', '--name', 'plain');
    for (const name of ['one', 'two'])
      await must('run', '-d', '--pod', 'plain', '--name', name, 'busybox', 'sleep', '1000');
    expect(await must('pod', 'ps', '--format', '{{.Name}} {{.Status}} {{.NumberOfContainers}}')).toBe(
      'plain Running 2\n',
    );
    expect(await must('pod', 'top', 'plain', 'args')).toMatch(/^COMMAND *\n(sleep 1000 *\n){2}$/);
    await must('pod', 'stop', '-t', '0', 'plain');
    await must('pod', 'rm', 'plain');
  });

  // --share-parent=false: podman 4.3 gives a pod's own cgroup device rules that deny everything, with runc as well.
  test('a pod whose containers share network, processes and more with its infra container', async () => {
    const infra = [
      '--infra-image',
      'busybox',
      '--infra-command',
      'sleep 1000',
      '--share-parent=false',
      '--network',
      'none',
    ];
    await must('pod', 'create', ...infra, '--share', 'net,ipc,uts,pid', '--hostname', 'shared', '--name', 'pod');
    const server = 'while :; do nc -l -p 8080 -e echo hello; done';
    await must('run', '-d', '--pod', 'pod', '--name', 'server', 'busybox', 'sh', '-c', server);
    const client = 'until nc 127.0.0.1 8080; do sleep 0.1; done; hostname; ps -o args | grep -c "^sleep 1000"';
    expect(await must('run', '--rm', '--pod', 'pod', 'busybox', 'sh', '-c', client)).toBe('hello\nshared\n1\n');
    await must('pod', 'pause', 'pod');
    expect(await must('pod', 'ps', '--format', '{{.Status}}')).toBe('Paused\n');
    await must('pod', 'unpause', 'pod');
    await must('pod', 'restart', 'pod');
    expect(await must('run', '--rm', '--pod', 'pod', 'busybox', 'sh', '-c', client)).toBe('hello\nshared\n1\n');
    await must('pod', 'kill', 'pod');
    await must('pod', 'rm', '-f', '-t', '0', 'pod');
    expect(await must('ps', '-aq')).toBe('');
  });

  describe('build', () => {
    const folder = () => `${podman.engine.folder}/context`;
    const build = (...lines: string[]) => {
      mkdirSync(folder(), { recursive: true });
      writeFileSync(`${folder()}/Containerfile`, `${lines.join('\n')}\n`);
      writeFileSync(`${folder()}/file`, 'of the context\n');
      return podman.run('build', '-q', '--no-cache', '--network', 'none', '-t', 'built', folder());
    };

    test('RUN, COPY, USER, WORKDIR; nothing of the caller is open in it, nothing is said', async () => {
      const built = await build(
        'FROM busybox',
        'RUN id -u > /made && ls /proc/self/fd | tr "\\n" " " >> /made',
        'COPY file /copied',
        'RUN --mount=type=bind,target=/context --mount=type=tmpfs,target=/scratch touch /scratch/x && cat /context/file >> /made',
        'WORKDIR /work',
        'USER 5',
        'RUN id -u > /tmp/who && grep CapEff /proc/self/status >> /tmp/who',
        'ENTRYPOINT ["cat", "/made", "/copied", "/tmp/who"]',
      );
      expect({ code: built.code, stderr: built.stderr }).toEqual({ code: 0, stderr: '' });
      expect(await must('run', '--rm', 'built')).toBe(
        '0\n0 1 2 3 of the context\nof the context\n5\nCapEff:\t0000000000000000\n',
      );
      await must('rmi', '-f', 'built');
    });

    test('FROM scratch: a program without anything else', async () => {
      const rootfs = podman.engine.rootfs();
      await runProgram('cp', [`${rootfs}/bin/busybox`, `${folder()}/busybox`]);
      const built = await build('FROM scratch', 'COPY busybox /bin/busybox', 'RUN ["/bin/busybox", "mkdir", "/made"]');
      expect({ code: built.code, stderr: built.stderr }).toEqual({ code: 0, stderr: '' });
      expect(await must('run', '--rm', 'built', '/bin/busybox', 'ls', '-d', '/made')).toBe('/made\n');
    });

    test('a RUN that fails gives its status, one that can’t be executed the reason', async () => {
      const failed = await build('FROM busybox', 'RUN exit 3');
      expect(failed.code).toBe(3);
      const missing = await build('FROM busybox', 'RUN ["missing"]');
      expect(missing.code).not.toBe(0);
      expect(missing.stderr).toContain('exec: "missing": executable file not found in $PATH');
    });
  });

  test('the README’s ways to register it: for one command, and for all', async () => {
    const readme = readFileSync(`${checkout}/README.md`, 'utf8');
    const section = /^## Register it with podman$(.*?)^## /ms.exec(readme)![1]!;
    const [command] = /podman --runtime .*/.exec(section)!;
    const [program, ...first] = podman.command;
    const words = command
      .replace('podman', [program, ...first].join(' '))
      .replace('docker.io/library/busybox', 'busybox');
    const once = await runProgram('sh', ['-c', words], { cwd: checkout, env: { ...podman.env, PWD: checkout } });
    expect({ code: once.code, stdout: once.stdout }, once.stderr).toEqual({ code: 0, stdout: 'hello\n' });

    const registered = /```toml\n(.*?)```/s.exec(section)![1]!.replaceAll('/usr/local/bin/tinyctr-oci', ociProgram);
    const machine =
      '[containers]\npids_limit = 0\ndefault_ulimits = ["nofile=1024:20000", "nproc=32768:32768"]\nnetns = "none"\n';
    const ours = registered.replace('[engine]\n', '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n');
    writeFileSync(`${podman.engine.folder}/readme.conf`, machine + ours);
    const env = { CONTAINERS_CONF: `${podman.engine.folder}/readme.conf` };
    const info = await podman.runWith(
      { env },
      'info',
      '--format',
      '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}',
    );
    expect(info.stdout, info.stderr).toMatch(/^tinyctr-oci tinyctr-oci version /);
    expect((await podman.runWith({ env }, 'run', '--rm', 'busybox', 'echo', 'hello')).stdout).toBe('hello\n');
    expect((await podman.runWith({ env }, 'run', '--rm', 'busybox', 'missing')).code).toBe(127);
  });
});
