/** `tinyctr cgroup draw` on whatever hierarchy this machine has: controllers or none. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Engine, until } from '../support/tinyctr.ts';

describe('tinyctr cgroup draw', needs({ root: true }), () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await new Engine().prepare();
    const nested = `mkdir $(sed -n 's,^0::,${cgroupRoot()},p' /proc/self/cgroup)/below; exec sleep 1000`;
    engine.spawn('run', '--rm', '--name', 'web', 'busybox', 'sleep', '1000');
    engine.spawn('limit', '--', 'sh', '-c', nested);
    const drawn = async () => (await engine.run('cgroup', 'draw')).stdout;
    let text = '';
    for (let i = 0; i < 50 && !(/ web /.test(text) && /─ below/.test(text)); i++) text = await drawn();
  });
  afterAll(async () => {
    const { stdout } = await engine.run('cgroup', 'draw', '--format', 'json');
    const mine = new Set(engine.states());
    for (const tree of JSON.parse(stdout).cgroups)
      for (const { path, processes } of tree.children)
        if (mine.has(path.split('/').at(-1)))
          for (const { pid } of processes) if (pid > 1) process.kill(pid, 'SIGKILL');
    await until('both have ended', () => engine.states().length === 0, 20_000);
    engine.remove();
  });

  it('shows containers by name, limits, and what they made, within 80 columns', async () => {
    const { stdout, code } = await engine.run('cgroup', 'draw');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[├└]─ [0-9a-f]{12} {2}web {2}sleep \d+$/m);
    expect(stdout).toMatch(/^[├└]─ limit-[0-9a-f]{12} {2}sleep \d+$/m);
    expect(stdout).toMatch(/└─ below$/m);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('shows every file of one container, and what is missing here', async () => {
    const { stdout } = await engine.run('cgroup', 'draw', 'web');
    expect(stdout).toMatch(/^\/tinyctr\/[0-9a-f]{12} {2}web/m);
    expect(stdout).toMatch(/^ {2}cpu\.stat {12}\d+\.\d\d s +CPU time used in all$/m);
    const here = readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').trim().split(' ');
    if (!here.includes('memory'))
      expect(stdout).toMatch(/^ {2}memory {3}(bound to cgroup v1 at \/|not in this kernel)/m);
  });

  it('has the same as JSON', async () => {
    const { stdout } = await engine.run('cgroup', 'draw', 'web', '--format', 'json');
    const { hierarchy, cgroups } = JSON.parse(stdout);
    expect(hierarchy).toBe(cgroupRoot());
    expect(cgroups[0]).toMatchObject({ title: 'web', processes: [{ name: 'sleep' }], children: [] });
    expect(cgroups[0].files['cpu.stat'].usage_usec).toBeGreaterThan(0);
  });

  it('draws any cgroup with --path, also as a path of the file system', async () => {
    for (const path of ['/tinyctr', `${cgroupRoot()}/tinyctr`]) {
      const { stdout } = await engine.run('cgroup', 'draw', '--path', path);
      expect(stdout).toContain('\n/tinyctr\n');
    }
  });

  it.each([
    [['nobody'], 'no such container: nobody', 1],
    [['--path', '/not/there'], 'there is no cgroup /not/there', 125],
    [['--path', '/../etc'], 'has a .. in it', 125],
    [['web', '--path', '/'], 'not both', 125],
  ])('%j is an error', async (words, text, status) => {
    const { code, stderr, stdout } = await engine.run('cgroup', 'draw', ...words);
    expect({ code, stdout }).toEqual({ code: status, stdout: '' });
    expect(stderr).toContain(text);
  });
});
