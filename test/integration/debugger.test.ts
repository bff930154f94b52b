/** docs/stepping.md: the construction of a container in a debugger, as VS Code does it: by Node's inspector and the source maps. */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CallFrame, Debuggee } from '../support/inspector.ts';
import { needs } from '../support/need.ts';
import { SourceMap } from '../support/source-map.ts';
import { checkout, Engine, mountsBelow, readIfThere, until } from '../support/tinyctr.ts';

const container = `${checkout}/src/core/init/container.ts`;
const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n');
/** From 1; the only line with this text. */
const lineOf = (path: string, text: string) => {
  const found = linesOf(path).flatMap((line, i) => (line.includes(text) ? [i + 1] : []));
  expect(found).toHaveLength(1);
  return found[0]!;
};

describe('tinyctr run in a debugger', needs({ root: true }), () => {
  const bundle = `${checkout}/dist/tinyctr-run.bundle.cjs`;
  let engine: Engine;
  let map: SourceMap;
  let debuggee: Debuggee | undefined;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    map = new SourceMap(bundle);
  });
  afterEach(async () => {
    debuggee?.kill();
    await debuggee?.ended;
    await engine.run('cleanup');
  });
  afterAll(() => {
    expect(mountsBelow(engine.folder)).toEqual([]);
    engine.remove();
  });

  const source = ({ location }: CallFrame) => map.origin(location.lineNumber, location.columnNumber);
  const textOf = (frame: CallFrame) => linesOf(source(frame).source)[source(frame).line - 1]!.trim();
  const breakAt = async (text: string) => {
    const place = map.position(container, lineOf(container, text))!;
    await debuggee!.send('Debugger.setBreakpointByUrl', { urlRegex: 'tinyctr-run\\.bundle\\.cjs$', ...place });
    await debuggee!.send('Debugger.resume');
    return debuggee!.paused();
  };
  const step = async () => {
    await debuggee!.send('Debugger.stepOver');
    return debuggee!.paused();
  };
  /** The program that docs/stepping.md starts, with a free port. */
  const start = async (...words: string[]) => {
    const command = [process.execPath, '--inspect-brk=127.0.0.1:0', `${checkout}/dist/tinyctr.cjs`];
    debuggee = new Debuggee([...command, ...engine.command.slice(1), ...words]);
    await debuggee.attach();
    return debuggee;
  };
  const rootOf = (pid: number) => {
    const { dev, ino } = statSync(`/proc/${pid}/root/`);
    return `${dev}:${ino}`;
  };
  const mountPoints = (pid: number) =>
    readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[4]!);

  test('stops at pivot_root; before it the process has the host’s root, one line later the container’s', async () => {
    const program = await start('--debug', 'run', '--rm', 'busybox', 'echo', 'ran to its end');
    const frames = await breakAt("stage.pivot_root('.', '.')");
    expect(source(frames[0]!)).toEqual({ source: container, line: lineOf(container, "stage.pivot_root('.', '.')") });
    expect(textOf(frames[0]!)).toBe("stage.pivot_root('.', '.');");

    // What a person finds in the editor's list of calls: each frame's line is the one that calls the next.
    const names = frames.map(({ functionName }) => functionName);
    const launch = names.indexOf('launch');
    expect(names.slice(0, 2)).toEqual(['pivotRoot', 'initContainer']);
    expect(names.slice(launch - 2, launch + 1)).toEqual(['attend', 'start', 'launch']);
    expect(textOf(frames[1]!)).toContain('pivotRoot(stage, root)');
    expect(textOf(frames[launch - 1]!)).toContain('await attend(spawned');
    expect(textOf(frames[launch]!)).toContain('await start(plan');

    const pid = (await program.evaluate(frames[launch - 2]!, 'hostPid')) as number;
    const state = JSON.parse(readFileSync(`${engine.runRoot}/${engine.states()[0]}/state.json`, 'utf8'));
    expect(pid).toBe(state.pid);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^NSpid:\t\d+\t1$/m);
    const host = rootOf(process.pid);
    const rootfs = `${engine.root}/containers/${state.id}/rootfs`;
    expect(rootOf(pid)).toBe(host);
    expect(mountPoints(pid)).toEqual(expect.arrayContaining([rootfs, `${rootfs}/proc`, `${rootfs}/dev/pts`]));

    const after = await step();
    expect(textOf(after[0]!)).toBe("stage.umount2('.', k.MNT_DETACH);");
    expect(rootOf(pid)).not.toBe(host);
    expect(readFileSync(`/proc/${pid}/root/etc/hostname`, 'utf8')).toBe(`${state.id.slice(0, 12)}\n`);
    const both = mountPoints(pid).length;
    expect(textOf((await step())[0]!)).toBe("stage.chdir('/');");
    expect(mountPoints(pid).length).toBeLessThan(both); // the host's are gone
    expect(mountPoints(pid)).toEqual(expect.arrayContaining(['/', '/proc', '/dev/pts', '/etc/hosts']));
    expect(mountPoints(pid).filter((path) => path.includes(engine.folder))).toEqual([]);

    await program.detach();
    expect(await program.ended).toBe(0);
    expect(program.stdout).toBe('ran to its end\n');
    expect([engine.states(), engine.containers()]).toEqual([[], []]);
  });

  test('one conditional breakpoint stops at any call, by its name', async () => {
    const program = await start('--debug', 'run', '--rm', 'busybox', 'true');
    const stage = `${checkout}/src/core/stage/stage.ts`;
    const place = map.position(stage, lineOf(stage, 'this.queue.push({ name, args, tolerated, fd'))!;
    const breakpoint = { urlRegex: 'tinyctr-run\\.bundle\\.cjs$', ...place, condition: "name === 'sethostname'" };
    await program.send('Debugger.setBreakpointByUrl', breakpoint);
    await program.send('Debugger.resume');
    const frames = await program.paused();
    expect(frames.map(({ functionName }) => functionName).slice(0, 3)).toEqual([
      'post',
      'sethostname',
      'initContainer',
    ]);
    expect(textOf(frames[2]!)).toContain('stage.sethostname(plan.hostname)');
    await program.detach();
    expect(await program.ended).toBe(0);
  });

  test('a second terminal finds the container stopped, and leaves it alone', async () => {
    const program = await start('--debug', 'run', '--name', 'stopped', 'busybox', 'true');
    await breakAt('stage.sethostname(');
    expect((await engine.run('ps', '-a')).stdout).toContain('stopped');
    const { code, stdout } = await engine.run('cleanup');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(engine.states()).toHaveLength(1);
    await program.detach();
    expect(await program.ended).toBe(0);
    await engine.run('rm', 'stopped');
  });

  test('ending the program at a stop ends the half-built container; the next command removes the rest', async () => {
    const program = await start('--debug', 'run', '--rm', 'busybox', 'true');
    const frames = await breakAt("stage.pivot_root('.', '.')");
    const attend = frames.find(({ functionName }) => functionName === 'attend')!;
    const pid = (await program.evaluate(attend, 'hostPid')) as number;
    program.kill();
    await program.ended;
    await until('the stage is gone', () => !/^State:\t[^ZX]/m.test(readIfThere(`/proc/${pid}/status`)));
    await engine.run('ps');
    expect([engine.states(), engine.containers()]).toEqual([[], []]);
  });

  test('the launcher takes NODE_OPTIONS as well', async () => {
    debuggee = new Debuggee([...engine.command, '--debug', 'run', '--rm', 'busybox', 'true'], {
      NODE_OPTIONS: '--inspect-brk=127.0.0.1:0',
    });
    await debuggee.attach();
    expect(textOf((await breakAt('stage.umask(0)'))[0]!)).toContain('stage.umask(0)');
    await debuggee.detach();
    expect(await debuggee.ended).toBe(0);
  });

  const maps = {
    tinyctr: 'src/cli/verbs/cleanup.ts',
    'tinyctr-run': 'src/engine/run.ts',
    'tinyctr-oci': 'src/oci/main.ts',
  };
  test.each(Object.entries(maps))('%s: the map is the bundle’s own', (name, file) => {
    const own = name === 'tinyctr-run' ? map : new SourceMap(`${checkout}/dist/${name}.bundle.cjs`);
    const text = readFileSync(`${checkout}/dist/${name}.bundle.cjs`, 'latin1').split('\n');
    for (const path of [`${checkout}/${file}`, ...(name === 'tinyctr' ? [] : [container])]) {
      const calls = linesOf(path).flatMap((line, i) => (/^ {2}(?:\w+\.)?\w+\(.*\);$/.test(line) ? [i + 1] : []));
      for (const line of calls) {
        const place = own.position(path, line);
        expect(place, `${path}:${line}`).toBeDefined();
        const word = /[\w.]+\(/.exec(linesOf(path)[line - 1]!)![0].replace(/\(.*/, '');
        expect(text[place!.lineNumber]!.slice(place!.columnNumber)).toMatch(
          new RegExp(`^(?:\\(0,)?[\\w.]*${word.split('.').at(-1)}`),
        );
        expect(own.origin(place!.lineNumber, place!.columnNumber)).toEqual({ source: path, line });
      }
    }
  });

  test('.vscode/launch.json starts and finds what is there', () => {
    const folder = ['$', '{workspaceFolder}'].join(''); // VS Code's, not a template's
    const { configurations } = JSON.parse(readFileSync(`${checkout}/.vscode/launch.json`, 'utf8'));
    for (const { program, outFiles, sourceMaps, args = [] } of configurations) {
      expect(sourceMaps).toBe(true);
      expect(outFiles).toEqual([`${folder}/dist/*.cjs`]);
      if (program) statSync(program.replace(folder, checkout));
      if (program) expect(args[0]).toBe('--debug'); // each call alone: the line that is next has not been carried out
    }
  });
});
