/** tinyctr cleanup: each kind of leftover is made, by a kill -9 or in its exact form; listed, and nothing changed; then removed. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { effects, type Leftover } from '../../src/engine/leftovers.ts';
import { needs } from '../support/need.ts';
import { Engine, processesWith, readIfThere, until } from '../support/tinyctr.ts';

const mark = `TINYCTR_TEST=cleanup-${process.pid}`;
const aliveMark = `${mark}-alive`;
const hex = (digit: string, length: number) => digit.repeat(length);

describe('tinyctr cleanup', needs({ root: true }), () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await new Engine().prepare();
  });
  afterAll(() => engine.remove());

  /** The pid of a process that is no more. */
  const deadPid = () => spawnSync('true').pid;
  const write = (path: string, text = 'x') => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  /** An import that waits for the rest of its archive. */
  const startImport = (name: string) => {
    const before = work().length;
    const [program, ...globals] = engine.command;
    const child = spawn(program!, [...globals, 'import', '-', name], { stdio: ['pipe', 'ignore', 'ignore'] });
    child.stdin.write(Buffer.alloc(512));
    return { child, ready: until('the import has begun', () => work().length > before) };
  };
  const work = () => readdirSync(`${engine.root}/layers`).filter((name) => name.startsWith('tmp-'));
  const everything = () =>
    execFileSync('find', [engine.root, engine.runRoot, '-printf', '%p %T@ %s %l\n'], { encoding: 'utf8' });
  const dryRun = async (): Promise<Leftover[]> => {
    const { code, stdout, stderr } = await engine.run('cleanup', '--dry-run', '--format', 'json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  };
  const sorted = (rows: readonly Leftover[]) => rows.map(({ kind, name }) => `${kind} ${name}`).sort();

  test('lists every kind of leftover truly, changes nothing, and then removes them all', async () => {
    const { root, runRoot } = engine;
    const expected: string[] = [];
    const left = (kind: string, path: string) => {
      expected.push(`${kind} ${path}`);
      return path;
    };

    // A container and a process at work that live: nothing of theirs is anybody's business.
    const alive = engine.spawn('run', '--rm', '--name', 'alive', '-e', aliveMark, 'busybox', 'sleep', '1000');
    await until('the living container runs', () => processesWith(aliveMark).length === 1);
    const [aliveId] = engine.states();
    const importing = startImport('alive-import');
    await importing.ready;
    const aliveFiles = [
      `${runRoot}/.new-${process.pid}-${hex('a', 64)}`,
      `${root}/seccomp/00000000.bpf.${process.pid}`,
    ];
    mkdirSync(aliveFiles[0]!);
    write(aliveFiles[1]!);

    // Each of these is a first tinyctr that is killed; the next command would clean up, so all are started before.
    const options = ['-e', mark, '--pid', 'host', 'busybox', 'sh', '-c', 'sleep 1000 & sleep 1000'];
    const children = [
      engine.spawn('run', '--rm', ...options),
      engine.spawn('run', '--name', 'kept', ...options),
      spawn(engine.command[0]!, [...engine.command.slice(1), 'limit', '--', 'env', mark, 'sleep', '1000']),
    ];
    await until('all run', () => processesWith(mark).length === 5);
    const dying = startImport('dead-import');
    await dying.ready;
    const states = engine.states().filter((name) => /^[0-9a-f]{64}$|^limit/.test(name) && name !== aliveId);
    expect(states).toHaveLength(3);
    const dyingWork = work().find((name) => name.startsWith(`tmp-${dying.child.pid}-`))!;
    for (const child of [...children, dying.child]) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    await until('the first processes are gone', () => processesWith(mark).length === 2);

    for (const id of states) {
      const cgroup = left('cgroup', `${cgroupRoot()}/tinyctr/${id}`);
      for (const pid of readFileSync(`${cgroup}/cgroup.procs`, 'utf8').split('\n').filter(Boolean))
        left('process', `${pid} ${readIfThere(`/proc/${pid}/comm`).trim()}`);
      left('state', `${runRoot}/${id}`);
      const record = readIfThere(`${root}/containers/${id}/container.json`);
      if (record.includes('"kept"')) left('record', `${root}/containers/${id}/container.json`);
      else if (record) left('container', `${root}/containers/${id}`);
    }
    left('work', `${root}/layers/${dyingWork}`);

    // In the exact form: what a kill leaves for an instant only, and what a power cut leaves.
    const dead = deadPid();
    mkdirSync(left('unborn', `${runRoot}/.new-${dead}-${hex('b', 64)}`));
    mkdirSync(left('unborn', `${runRoot}/.old-${dead}-${hex('b', 64)}`));
    symlinkSync(hex('c', 64), left('name', `${root}/containers/.names/nobody`));
    write(`${left('volume', `${root}/volumes/.new-${dead}-00000000`)}/volume.json`);
    write(`${left('volume', `${root}/volumes/.old-${dead}-00000000`)}/_data/file`);
    write(`${root}/volumes/half/_data/own`);
    write(`${left('volume', `${root}/volumes/half/.filling`)}/tree/copied`);
    mkdirSync(`${root}/volumes/whole/_data`, { recursive: true });
    write(`${left('volume', `${root}/volumes/whole/.filled`)}/tree/copied`);
    mkdirSync(left('work', `${root}/layers/tmp-gone-${hex('d', 32)}`));
    write(`${left('layer', `${root}/layers/${hex('d', 32)}`)}/file`);
    write(`${left('layer', `${root}/layers/${hex('d', 32)}.${hex('e', 16)}`)}/file`);
    write(left('file', `${root}/configs/${hex('d', 64)}`));
    write(left('file', `${root}/images/.${hex('d', 64)}.json`));
    write(left('file', `${root}/names/docker.io/library/nobody/.:latest`));
    write(left('blob', `${root}/blobs/sha256/${hex('d', 64)}`));
    write(left('blob', `${root}/blobs/sha256/${hex('e', 64)}.partial`));
    write(left('blob', `${root}/blobs/sha256/.${hex('e', 64)}.layer`));
    write(left('filter', `${root}/seccomp/00000000.bpf.${dead}`));
    const lost = (digit: string, more: object) => {
      const id = hex(digit, 64);
      const nothing = { id, image: id, imageName: 'x', command: [], labels: {}, created: new Date().toISOString() };
      write(`${root}/containers/${id}/container.json`, JSON.stringify({ ...nothing, boot: 'another', ...more }));
      return `${root}/containers/${id}`;
    };
    const lostKept = left('record', `${lost('1', { name: 'lost' })}/container.json`);
    symlinkSync(hex('1', 64), `${root}/containers/.names/lost`);
    write(`${left('container', `${root}/containers/.removed-${hex('7', 64)}`)}/upper/file`);
    left('container', lost('2', { remove: true }));
    const halfMade = left('container', `${root}/containers/${hex('3', 64)}`);
    mkdirSync(`${halfMade}/upper`, { recursive: true });
    utimesSync(halfMade, 1, 1);

    expect(new Set(expected.map((row) => row.split(' ')[0]))).toEqual(new Set(Object.keys(effects)));
    const before = everything();
    expect(sorted(await dryRun())).toEqual(expected.sort());
    const text = await engine.run('cleanup', '--dry-run');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout.split('\n').filter(Boolean)).toHaveLength(expected.length);
    for (const row of expected) expect(text.stdout.replace(/^(\S+) +/gm, '$1 ')).toContain(`${row}: `);
    expect(everything()).toBe(before);
    expect(processesWith(mark)).toHaveLength(2);

    const { code, stdout, stderr } = await engine.run('cleanup', '--format', 'json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const told = JSON.parse(stdout) as (Leftover & { removed: boolean; inverse: string })[];
    expect(sorted(told)).toEqual(expected);
    for (const { kind, name, removed, inverse } of told) {
      expect({ name, removed, inverse }).toEqual({ name, removed: true, inverse: effects[kind].inverse });
      if (kind === 'record') expect(JSON.parse(readFileSync(name, 'utf8')).ended).toMatchObject({ exitCode: 137 });
      else if (kind !== 'process') expect(existsSync(name), name).toBe(false);
    }
    expect(['half', 'whole'].map((name) => readdirSync(`${root}/volumes/${name}/_data`))).toEqual([
      ['own'],
      ['copied'],
    ]);
    expect(processesWith(mark)).toEqual([]);
    expect(await dryRun()).toEqual([]);
    expect(await engine.run('cleanup')).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });

    expect(processesWith(aliveMark)).toHaveLength(1);
    expect(engine.states()).toEqual(expect.arrayContaining([aliveId]));
    expect(aliveFiles.map((path) => existsSync(path))).toEqual([true, true]);
    expect(work()).toHaveLength(1);
    expect(await engine.run('run', '--rm', 'busybox', 'echo', 'works')).toMatchObject({ code: 0, stdout: 'works\n' });
    expect((await engine.run('rm', 'kept', 'lost')).code).toBe(0);
    expect(existsSync(dirname(lostKept))).toBe(false);
    for (const child of [alive, importing.child]) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    await engine.run('cleanup');
    for (const path of aliveFiles) rmSync(path, { recursive: true });
  });

  test('a container that was lost with an earlier boot is not told to be only created', async () => {
    await engine.run('run', '--name', 'lost', 'busybox', 'true');
    const [id] = engine.containers();
    const file = `${engine.root}/containers/${id}/container.json`;
    const { ended: _, ...record } = JSON.parse(readFileSync(file, 'utf8'));
    expect(record.boot).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    writeFileSync(file, JSON.stringify({ ...record, boot: 'another' }));
    expect((await engine.run('ps', '-a')).stdout).toContain('Lost: the machine was started anew');
    await engine.run('cleanup');
    expect((await engine.run('ps', '-a')).stdout).toContain('Exited (137)');
    await engine.run('rm', 'lost');
  });

  test('what can’t be removed is told, with status 125, and stops neither the rest nor other commands', async () => {
    const child = engine.spawn('run', '--rm', '-e', mark, 'busybox', 'sleep', '1000');
    await until('it runs', () => processesWith(mark).length === 1);
    const [id] = engine.states();
    const busy = `${engine.root}/containers/${id}/upper`;
    execFileSync('mount', ['-t', 'tmpfs', 'none', busy]);
    try {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
      const name = `${engine.root}/containers/.names/nobody`;
      symlinkSync(hex('c', 64), name);
      const { code, stdout, stderr } = await engine.run('cleanup');
      expect(code).toBe(125);
      expect(stdout).toMatch(new RegExp(`^container +\\S+/${id}: STILL THERE$`, 'm'));
      expect(stdout).toMatch(new RegExp(`^state +\\S+/${id}: STILL THERE$`, 'm'));
      expect(stdout).toContain('nobody: removed');
      expect(stderr).toMatch(/EBUSY/);
      expect(existsSync(name)).toBe(false);
      expect((await engine.run('ps')).code).toBe(0);
      expect(sorted(await dryRun())).toEqual(expect.arrayContaining([`state ${engine.runRoot}/${id}`]));
    } finally {
      execFileSync('umount', [busy]);
    }
    expect((await engine.run('cleanup')).code).toBe(0);
    expect(await dryRun()).toEqual([]);
  });

  test('where nothing was ever made, nothing is found and nothing is made', async () => {
    const folder = `${engine.folder}/never`;
    const words = ['--root', `${folder}/root`, '--run-root', `${folder}/run`, 'cleanup'];
    for (const more of [['--dry-run'], []])
      expect(await engine.run(...words, ...more)).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(existsSync(folder)).toBe(false);
  });
});
