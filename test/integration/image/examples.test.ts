/** The recipes of rootfs-examples do what their READMEs say. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { needs } from '../../support/need.ts';
import { Scratch } from './snapshot.ts';

const project = new URL('../../..', import.meta.url).pathname;
const alpine = new URL('../../../../shared/data/alpine-minirootfs-3.20.3-x86_64.tar.gz', import.meta.url).pathname;
let scratch: Scratch;
let tinyctr: string[];

beforeEach(() => {
  scratch = new Scratch();
  tinyctr = [`${project}bin/tinyctr`, '--root', scratch.in('root'), '--run-root', scratch.in('run')];
});
afterEach(() => scratch.remove());

const run = (command: string, ...args: string[]) => {
  const env = { ...process.env, TINYCTR: tinyctr.join(' ') };
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env, timeout: 30_000 });
  return { status, stdout, stderr };
};
const engine = (...words: string[]) => run(tinyctr[0]!, ...tinyctr.slice(1), ...words);

describe('rootfs-examples', needs({ root: true, command: 'ldd' }), () => {
  test('host: programs of this machine run in a container of their own', () => {
    expect(run(`${project}rootfs-examples/host/make.sh`, scratch.in('rootfs'), 'sh', 'ls', 'cat').stderr).toBe('');
    expect(existsSync(scratch.in('rootfs/etc/shadow'))).toBe(false);
    expect(engine('import', scratch.in('rootfs'), 'host', '--change', 'CMD ["/bin/sh"]').status).toBe(0);
    const inside = engine('run', '--rm', 'host', 'sh', '-c', 'cat /etc/passwd; ls /');
    expect(inside).toMatchObject({ status: 0, stdout: expect.stringMatching(/^root:x:0:0:[\s\S]*\nusr\n/) });
    expect(run(`${project}rootfs-examples/host/make.sh`, scratch.in('rootfs')).stderr).toContain('exists already');
  });

  test('alpine: imported when its digest is right, and only then', needs({ file: alpine }), () => {
    const script = `${project}rootfs-examples/alpine/import.sh`;
    expect(run(script, alpine)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/),
    });
    const inside = engine('run', '--rm', 'alpine', '/bin/sh', '-c', 'cat /etc/alpine-release; readlink /bin/sh');
    expect(inside).toMatchObject({ status: 0, stdout: '3.20.3\n/bin/busybox\n' });
    writeFileSync(scratch.in('other'), 'other');
    expect(run(script, scratch.in('other'))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('not imported'),
    });
  });
});
