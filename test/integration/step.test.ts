/** --step, --pause-before, --pause-after, --freeze at a real terminal, and the second terminal beside it. */
import { mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Pty, type PtyOptions } from '../support/pty.ts';
import { cgroups, Engine, mountsBelow, readIfThere, runProgram, scratch, until } from '../support/tinyctr.ts';

const prompt = /h help > /;
/** The terminal's bytes as text. */
const textOf = (pty: Pty): string => Buffer.from(pty.screen, 'latin1').toString('utf8');

describe('stepping through a construction', needs({ root: true }), () => {
  let engine: Engine;
  let before: string;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    before = traces();
  }, 60_000);
  afterAll(() => engine.remove());
  afterEach(async () => {
    for (const pty of opened.splice(0)) pty.child.kill('SIGTERM');
    await until('nothing is left', () => traces() === before);
  });

  /** What a container is on the host, but for a moment. */
  function traces(): string {
    return JSON.stringify([mountsBelow(engine.folder), engine.states(), engine.containers(), own()]);
  }
  const own = () => cgroups().filter((name) => engine.states().includes(name));

  const opened: Pty[] = [];

  function at(words: readonly string[], options: PtyOptions = {}, environment = ['NO_COLOR=1']): Pty {
    const pty = new Pty(['env', ...environment, ...engine.command, 'run', '--rm', ...words], options);
    opened.push(pty);
    return pty;
  }

  /** Types a line once the prompt is there. */
  async function say(pty: Pty, line: string): Promise<void> {
    await pty.shows(prompt);
    pty.type(`${line}\r`);
  }

  const stage = async (): Promise<{ pid: number; cgroup: string }> => {
    const { stdout } = await engine.run('inspect-step', '--format', 'json');
    return JSON.parse(stdout) as { pid: number; cgroup: string };
  };

  test('Enter by Enter: the steps are those of explain, in its order, and the container runs', async () => {
    const { stdout } = await engine.run('explain', '--format', 'json', 'run', '-t', '--rm', 'busybox', 'echo', 'a');
    const steps = (JSON.parse(stdout) as { steps: { id: string }[] }).steps.map(({ id }) => id);
    const pty = at(['--step', 'busybox', 'sh', '-c', 'echo made of $((40 + 2)); exit 7']);
    for (const [i, id] of steps.entries()) {
      await pty.shows(new RegExp(`step ${i + 1} of ${steps.length}: ${id.replaceAll(/[.*+?]/g, '.')} `));
      await say(pty, '');
    }
    expect(await pty.ended).toBe(7);
    const screen = textOf(pty);
    expect(screen).toContain('made of 42');
    expect(screen.split('\r\n').filter((line) => line.length > 80)).toEqual([]);
    const stops = screen
      .split(prompt)
      .slice(0, -1)
      .map((text) => text.slice(text.indexOf('\r\n-- ')).split('\r\n'));
    expect(stops).toHaveLength(steps.length);
    expect(stops.filter((rows) => rows.length > 24)).toEqual([]); // the prompt is the last
    expect(screen).toMatch(/… \d+ more, v shows all\r\n/);
    const changes = [
      /namespaces +\+ mnt +\d+\r\n +\+ pid +\d+\r\n +\+ uts/,
      /cgroup +\S+ → \/tinyctr\/[0-9a-f]{12}…/,
      /mounts +\+ ROOTFS {2}overlay/,
      /mounts +\+ ROOTFS\/proc {2}proc nosuid,nodev,noexec/,
      /mounts +\d+ have moved: ROOTFS is \/ now\r\n +- \d+ are out of reach/,
      /hostname +\S+ → [0-9a-f]{12}\r\n/,
      /capabilities +- bounding \d+ → 14: /,
      /ids +uid 0, gid 0, groups .* → uid 0, gid 0, groups 0 10/,
    ];
    let from = 0;
    for (const change of changes) {
      const found = change.exec(screen.slice(from));
      expect(found, `${change}`).not.toBeNull();
      from += found!.index;
    }
  }, 60_000);

  test('continue runs on, and the terminal is as it was', async () => {
    const pty = at(['--step', 'busybox', 'tty']);
    await say(pty, '');
    await say(pty, 'c');
    expect(await pty.ended).toBe(0);
    expect(pty.screen).toContain('/dev/pts/0');
    expect(pty.settingsAfter).toBe(pty.settings);
  });

  test('quit undoes everything, at a step of the host and in the middle', async () => {
    for (const next of [0, 2, 20]) {
      const pty = at(['--step', 'busybox', 'true']);
      for (let i = 0; i < next; i++) await say(pty, '');
      await say(pty, 'q');
      expect(await pty.ended).toBe(125);
      expect(pty.screen).toMatch(/tinyctr: quit at step \S.*: everything is undone/);
      expect(traces()).toBe(before);
    }
  });

  test('the end of the input and Ctrl-C are quit', async () => {
    for (const [key, status] of [
      ['\x04', 125],
      ['\x03', 130],
    ] as const) {
      const pty = at(['--pause-before', 'mount', 'busybox', 'true']);
      await pty.shows(prompt);
      pty.type(key);
      expect(await pty.ended).toBe(status);
      expect(traces()).toBe(before);
    }
  });

  test('a shell before pivot_root is the host’s in the container’s namespaces; after it the image’s', async () => {
    const pty = at(['--pause-before', 'pivot_root', '--pause-after', 'sethostname', '-h', 'boxed', 'busybox', 'true']);
    await pty.shows(/before +pivot_root\("\.", "\."\)/);
    await say(pty, 's');
    await pty.shows(/root, rootfs\.pivot # /);
    pty.type('echo "<$(hostname) $$ $(grep -c rootfs/proc /proc/self/mounts)>"\r');
    const [, name, pid, mounts] = await pty.shows(/<([^ $]+) (\d+) (\d+)>/);
    expect(name).toBe(readFileSync('/proc/sys/kernel/hostname', 'utf8').trim());
    expect(Number(pid)).toBeLessThan(10); // of the new pid namespace
    expect(Number(mounts)).toBeGreaterThan(1);
    pty.type('exit\r');
    await say(pty, 'c');
    await pty.shows(/after +sethostname\("boxed", 5\)/);
    await say(pty, 's');
    await pty.shows(/root, hostname # /);
    pty.type('echo "<$(hostname) $(ls -d /root/../bin/busybox) $(grep CapEff /proc/self/status)>"\r');
    const [, shown] = await pty.shows(/<(boxed [^<>$]+)>/);
    expect(shown).toContain('/bin/busybox');
    expect(shown).not.toMatch(/CapEff:\s+000001ff/); // no more than the container's own command
    pty.type('exit\r');
    await say(pty, 'c');
    expect(await pty.ended).toBe(0);
  }, 30_000);

  test('a second terminal looks and enters', async () => {
    const pty = at(['--pause-before', 'pivot_root', '--name', 'watched', 'busybox', 'true']);
    await pty.shows(prompt);
    const { stdout } = await engine.run('inspect-step', 'watched');
    expect(stdout).toMatch(/in step: rootfs\.pivot/);
    expect(stdout).toMatch(/before +pivot_root\("\.", "\."\)/);
    expect(stdout).toMatch(/ROOTFS\/proc {2}proc/);
    expect(stdout).toMatch(/net +\d+\n/);
    const all = JSON.parse((await engine.run('inspect-step', '--format', 'json')).stdout);
    expect(all).toMatchObject({ at: 'before', step: { id: 'rootfs.pivot' }, namespaces: { uts: { ofHost: false } } });
    expect(all.mounts.some(({ mountPoint }: { mountPoint: string }) => mountPoint === `${all.rootfs}/dev/pts`)).toBe(
      true,
    );
    expect(readIfThere(`/proc/${all.pid}/comm`)).toContain('stage');
    expect(statSync(engine.runRoot).mode & 0o777).toBe(0o700);
    expect(statSync(`${engine.runRoot}/${all.id}/step.json`).mode & 0o777).toBe(0o600);
    const entered = await engine.runWith({ input: 'cat /proc/1/comm; exit 3\n' }, 'enter', '--at-step');
    expect(entered.code).toBe(3);
    expect((await engine.run('enter')).stderr).toContain('--at-step');
    expect((await engine.run('inspect-step', 'other')).stderr).toContain('no container other waits at a step');
    pty.type('c\r');
    expect(await pty.ended).toBe(0);
    const after = await engine.run('inspect-step');
    expect(after.code).toBe(1);
    expect(after.stderr).toContain('no container waits at a step');
  });

  test('kill -9 at the prompt leaves nothing that the next command does not clean up', async () => {
    const pty = at(['--pause-before', 'pivot_root', 'busybox', 'true']);
    await pty.shows(prompt);
    const { pid, cgroup } = await stage();
    process.kill(pty.child.pid!, 'SIGKILL');
    await pty.ended;
    await until('the stage is gone', () => readIfThere(`/proc/${pid}/comm`) === '');
    expect((await engine.run('inspect-step')).stderr).toContain('no container waits at a step');
    expect(() => statSync(cgroup)).toThrow('ENOENT');
  });

  test('a terminal that is closed at the prompt ends it', async () => {
    const pty = at(['--pause-before', 'pivot_root', 'busybox', 'true']);
    await pty.shows(prompt);
    const { pid } = await stage();
    pty.hangUp();
    expect(await pty.ended).toBe(129);
    await until('the stage is gone', () => readIfThere(`/proc/${pid}/comm`) === '');
    await until('nothing is left', () => traces() === before);
  });

  test('commands are read from the terminal, not from the container’s standard input', async () => {
    const file = `${scratch(engine)}/input`;
    writeFileSync(file, 'q\nfor the container\n');
    const pty = at(['-i', '--pause-before', 'pivot_root', 'busybox', 'cat'], { redirect: { 0: openSync(file, 'r') } });
    await say(pty, 'c');
    expect(await pty.ended).toBe(0);
    expect(pty.screen).toContain('for the container');
  });

  test('colours only where they are wanted', async () => {
    const coloured = at(['--step', 'busybox', 'true'], {}, ['NO_COLOR=']);
    await say(coloured, 'q');
    await coloured.ended;
    expect(coloured.screen).toContain('\x1b[1;36m');
    const bare = at(['--step', 'busybox', 'true']);
    await say(bare, 'h');
    await say(bare, 'nonsense');
    await say(bare, 'q');
    await bare.ended;
    expect(bare.screen).not.toContain('\x1b[');
    expect(bare.screen).toContain('no such command: nonsense');
  });

  test('with a user namespace, and with --isolation chroot', async () => {
    for (const options of [
      ['--userns', 'auto'],
      ['--isolation', 'chroot'],
    ]) {
      const pty = at([...options, '--step', '--pause-after', 'setresuid', 'busybox', 'echo', 'it', 'runs']);
      for (let steps = 0; !/step (\d+) of \1: exec /.test(textOf(pty)); steps++) {
        await say(pty, '');
        if (steps > 90) throw new Error('it never ends');
        await pty.shows(/-- (before|in) step/);
      }
      await say(pty, '');
      expect(await pty.ended, textOf(pty)).toBe(0);
      expect(pty.screen).toContain('it runs');
    }
  }, 40_000);

  test('docs/workshop.md shows what it shows', async () => {
    const words = ['--pause-before', 'pivot_root', '-h', 'box', 'busybox', 'true'];
    const pty = at(words);
    await say(pty, '');
    await say(pty, '');
    await say(pty, 'c');
    expect(await pty.ended).toBe(0);
    const page = readFileSync('docs/workshop.md', 'utf8');
    const [, transcript] = page.split(`$ sudo tinyctr run --rm ${words.join(' ')}\n`);
    const variable = (line: string) =>
      line
        .replaceAll(/[0-9a-f]{12}…/g, 'ID…')
        .replaceAll(/\b\d+\b/g, 'N')
        .trimEnd();
    const screen = textOf(pty).split('\r\n').map(variable);
    let from = 0;
    const wanted = transcript!.slice(0, transcript!.indexOf('```')).trim().split('\n');
    for (const line of wanted.filter((one) => one !== '…').map(variable)) {
      const at = screen.indexOf(line, from);
      expect(at, `the line ${line} of docs/workshop.md, in ${screen.slice(from).join('\n')}`).toBeGreaterThanOrEqual(0);
      from = at + 1;
    }
    expect(wanted.length).toBeGreaterThan(30);
  });

  test('what is wrong with the options is said at once', async () => {
    const errors: [string[], string][] = [
      [
        ['--pause-before', 'pivotroot'],
        '--pause-before pivotroot: tinyctr makes no such system call; did you mean pivot_root?',
      ],
      [['--pause-after', 'execve'], 'goes as one piece with execve'],
      [['--step', '-d'], 'not with -d'],
      [['--step', '--trace'], '--trace excludes --step'],
    ];
    for (const [options, text] of errors) {
      const { code, stderr } = await engine.run('run', '--rm', ...options, 'busybox', 'true');
      expect(stderr).toContain(text);
      expect(code).toBe(125);
    }
    const pty = at(['--pause-before', 'chroot', 'busybox', 'true']);
    expect(await pty.ended).toBe(125);
    expect(pty.screen).toContain('--pause-before chroot: the construction of this container has no such call');
    const words = ['-w', ...engine.command, 'run', '--rm', '--step', 'busybox', 'true'];
    const none = await runProgram('setsid', words);
    expect(none.stderr).toContain('--step asks at a terminal what to do next, and there is none');
    expect(none.code).toBe(125);
  });

  describe('--freeze', () => {
    let broken: string;
    beforeAll(async () => {
      broken = await engine.image((rootfs) => {
        rmSync(`${rootfs}/etc/hosts`, { force: true });
        mkdirSync(`${rootfs}/etc/hosts`, { recursive: true });
      });
    });

    test('keeps what stands when a mount fails, until Enter', async () => {
      const pty = at(['--freeze', broken, 'true']);
      await pty.shows(/failed in step: mount \/etc\/hosts/);
      await pty.shows(/cleans up > /);
      const { stdout } = await engine.run('inspect-step');
      expect(stdout).toMatch(/failed in step: mount \/etc\/hosts/);
      expect(stdout).toMatch(/ROOTFS\/etc\/hostname/);
      const entered = await engine.runWith(
        { input: 'grep -c rootfs/etc/hostname /proc/self/mounts\n' },
        'enter',
        '--at-step',
      );
      expect(entered.stdout).toBe('1\n');
      pty.type('\r');
      expect(await pty.ended).toBe(125);
      expect(textOf(pty)).toMatch(/look +tinyctr enter --at-step [0-9a-f]{12}\r\n/);
      expect(textOf(pty)).toMatch(/nsenter -t \d+ .*-m/);
    });

    test('tells the errno in words and what it likely means, and cleans up at the end of the input', async () => {
      const { code, stderr } = await engine.run(
        'run',
        '--rm',
        '--freeze',
        '--ulimit',
        'nofile=2147483584',
        'busybox',
        'true',
      );
      expect(code).toBe(125);
      expect(stderr).toMatch(/failed in step: rlimits/);
      expect(stderr).toMatch(/error +EPERM: operation not permitted/);
      expect(stderr).toMatch(/because +RLIMIT_NOFILE can't be set to 2147483584/);
      expect(stderr).toContain('cleans up > \ntinyctr: ');
    });

    test('says that there is nothing to look at where it fails before there is a process', async () => {
      // Nothing else fails so early on every machine: where the controller is there, nothing fails at all.
      const here = ['', '/unified'].some((folder) =>
        /\bmemory\b/.test(readIfThere(`/sys/fs/cgroup${folder}/cgroup.controllers`)),
      );
      const { code, stderr } = await engine.run('run', '--rm', '--freeze', '--memory', '64m', 'busybox', 'true');
      if (here) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      else {
        expect(code).toBe(125);
        expect(stderr).toMatch(
          /^--freeze: it failed before there was a process: there is nothing to look at\ntinyctr: /,
        );
      }
    });

    test('has nothing to do where nothing fails', async () => {
      expect(await engine.run('run', '--rm', '--freeze', 'busybox', 'echo', 'fine')).toMatchObject({
        code: 0,
        stdout: 'fine\n',
      });
    });
  });
});
