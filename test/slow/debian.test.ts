/** rootfs-examples/debian does what its README says. Fetches some 50 MB of packages. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listImages } from '../../src/image/records.ts';
import { needs } from '../support/need.ts';
import { checkout, Engine, runProgram, scratch } from '../support/tinyctr.ts';

const script = `${checkout}/rootfs-examples/debian/import.sh`;
let engine: Engine;

beforeEach(() => {
  engine = new Engine();
});
afterEach(() => engine.remove());

const run = (...words: string[]) => {
  const env = { TINYCTR: engine.command.join(' '), TMPDIR: scratch(engine) };
  return runProgram(script, words, { env, timeoutMs: 380_000 }).then((result) => ({
    ...result,
    left: readdirSync(env.TMPDIR),
  }));
};

describe('rootfs-examples/debian', needs({ root: true, command: 'debootstrap' }), () => {
  test('one command, and Debian runs: its own tools, nothing of this machine, nothing left over', async () => {
    expect(await run()).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/),
      left: [],
    });
    expect(listImages(engine.root)[0]!.names).toEqual(['debian:bookworm', 'debian:latest']);
    const inside = await engine.run(
      'run',
      '--rm',
      'debian',
      'bash',
      '-c',
      '. /etc/os-release; echo $PRETTY_NAME; dpkg --audit; dpkg -l bash | grep -c ^ii',
    );
    expect(inside).toMatchObject({ code: 0, stdout: 'Debian GNU/Linux 12 (bookworm)\n1\n' });
    const layer = `${engine.root}/layers/${listImages(engine.root)[0]!.layers[0]}`;
    expect(readdirSync(`${layer}/dev`)).toEqual([]);
    expect(readdirSync(`${layer}/var/cache/apt/archives`).filter((name) => name.endsWith('.deb'))).toEqual([]);
    expect(existsSync(`${layer}/etc/resolv.conf`)).toBe(false);
    expect(readFileSync(`${layer}/etc/apt/sources.list`, 'utf8')).toContain('bookworm main');
  });

  test('a suite that there is not, or a mirror that is none, makes no image', async () => {
    expect(await run('nosuch')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('No such script'),
      left: [],
    });
    expect(await run('bookworm', `file://${engine.folder}`)).toMatchObject({ code: 1, stdout: '', left: [] });
    expect(listImages(engine.root)).toEqual([]);
  });
});
