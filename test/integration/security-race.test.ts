/**
 * SEC-03 and SEC-04: a volume in which a component of a mount point is a folder now and a link to the machine's files the
 * next moment. Whoever checks a path and then uses it loses this race sooner or later (CVE-2021-30465, CVE-2024-45310).
 */
import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeDecoy, snapshot } from '../support/decoy.ts';
import { needs } from '../support/need.ts';
import { Engine, mountsBelow, type Result, scratch } from '../support/tinyctr.ts';

/** For how long each race is run; 60 is what runc's own test takes. */
const seconds = Number(process.env.TINYCTR_RACE_SECONDS ?? 7);

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

/**
 * Puts the folder `dir` and the link `link` in the place of `a`, in turns, each for less than a container needs to start. For
 * moments nothing is there: what tinyctr makes in its place then is taken away.
 */
const swapper = `
  const { renameSync, rmSync } = require('node:fs');
  process.chdir(process.argv[1]);
  function move(from, to) {
    for (;;)
      try {
        return renameSync(from, to);
      } catch {
        try {
          rmSync(to, { recursive: true, force: true });
        } catch {}
      }
  }
  const memory = new Int32Array(new SharedArrayBuffer(4));
  const hold = () => Atomics.wait(memory, 0, 0, Math.random() * 5);
  for (;;) {
    move('a', 'dir');
    move('link', 'a');
    hold();
    move('a', 'link');
    move('dir', 'a');
    hold();
  }
`;

/** A volume with folder `a`, and `link` to the decoy. */
function makeVolume(target: string): string {
  const volume = scratch(engine);
  mkdirSync(`${volume}/a`);
  symlinkSync(target, `${volume}/link`);
  return volume;
}

async function race(volume: string, image: string): Promise<Result[]> {
  const data = scratch(engine);
  writeFileSync(`${data}/file`, 'data');
  const options = [
    '-v',
    `${volume}:/vol`,
    '-v',
    `${data}:/vol/a/b`,
    '-v',
    `${data}/file:/vol/a/new`,
    '--tmpfs',
    '/vol/a/deep/tmp',
    '-w',
    '/vol/a/cwd',
  ];
  const child = spawn(process.execPath, ['-e', swapper, volume], { stdio: ['ignore', 'ignore', 'inherit'] });
  const results: Result[] = [];
  const startUntil = Date.now() + seconds * 1000;
  const start = async () => {
    while (Date.now() < startUntil)
      results.push(
        await engine.run('run', '--rm', ...options, image, 'cut', '-d', ' ', '-f', '5', '/proc/self/mountinfo'),
      );
  };
  await Promise.all([start(), start()]);
  expect({ exitCode: child.exitCode }).toEqual({ exitCode: null }); // it ran to the end
  child.kill('SIGKILL');
  return results;
}

describe('a component of the mount point is swapped', needs({ root: true }), () => {
  test.each([
    ['an absolute link', (decoy: string) => decoy],
    ['a relative link', (decoy: string) => `../../../../../../../..${decoy}`],
  ])(
    'with %s',
    async (_, target) => {
      const decoy = makeDecoy(engine.folder);
      const before = snapshot(decoy);
      // In the container there is a folder of the same path: the link leads somewhere, but not to the machine's.
      const results = await race(
        makeVolume(target(decoy)),
        await engine.image((rootfs) => mkdirSync(`${rootfs}${decoy}`, { recursive: true })),
      );
      expect(snapshot(decoy)).toEqual(before);
      expect(mountsBelow(engine.folder)).toEqual([]);
      // The race was one: some containers saw the folder, some the link (which led to a folder of their own), some neither.
      const saw = (text: string) => results.filter(({ stdout }) => stdout.includes(text)).length;
      expect(saw('/vol/a/')).toBeGreaterThan(0);
      expect(saw(`${decoy}/`)).toBeGreaterThan(0);
      const failed = results.filter(({ code }) => code !== 0);
      for (const { code, stderr } of failed)
        expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringMatching(/^tinyctr: /) });
      expect(engine.containers()).toEqual([]);
      expect(engine.states()).toEqual([]);
    },
    seconds * 1000 + 30_000,
  );
});
