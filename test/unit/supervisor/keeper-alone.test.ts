/** native-shim/keeper.c with somebody else in the supervisor's place. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nativeFolder } from '../../../src/core/host/syscall.ts';
import { needs } from '../../support/need.ts';
import { checkout, until } from '../../support/tinyctr.ts';

describe('the keeper', needs({ command: 'python3' }), () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(`${tmpdir()}/tinyctr-test-`);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Its exit status, once it has left because nothing is kept and nobody wants anything. */
  async function keep(words: string[], before: string[] = []): Promise<number | null> {
    const [command, ...args] = [...before, `${nativeFolder}/keeper`, folder, ...words];
    const keeper = spawn(command!, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = new Promise<number | null>((resolve) => keeper.once('exit', resolve));
    await until('it listens', () => existsSync(`${folder}/.supervisor.sock`), 45_000);
    const socket = connect(`${folder}/.supervisor.sock`);
    socket.on('error', () => undefined);
    const status = await ended;
    socket.destroy();
    return status;
  }
  const python = '/usr/bin/env';
  const as = (what: string) => [
    python,
    'python3',
    `${checkout}/test/support/fake-supervisor.py`,
    what,
    `${folder}/said`,
  ];

  test.each([
    ['more news than a pipe holds, and nobody reads: none is lost, and it goes on meanwhile', 'full'],
    ['packets that are no orders', 'nonsense'],
  ])('%s', async (_, what) => {
    expect(await keep(as(what))).toBe(0);
    expect(readFileSync(`${folder}/said`, 'utf8')).toBe('True');
    expect(existsSync(`${folder}/.supervisor.sock`)).toBe(false);
  });

  test('no descriptor is free for a container: it is killed, and that is told', async () => {
    expect(await keep(as('scarce'), ['sh', '-c', 'ulimit -n 100; exec "$@"', 'sh'])).toBe(0);
    expect(readFileSync(`${folder}/said`, 'utf8')).toBe('True');
  });

  test('a supervisor that can’t be executed: it leaves with its status, and does not try for ever', async () => {
    expect(await keep([`${folder}/none`])).toBe(127);
  });

  test('a socket that was promised and is not there: it ends', async () => {
    const promise = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"';
    const keeper = spawn('sh', ['-c', promise, 'sh', `${nativeFolder}/keeper`, folder, python, 'true'], {
      stdio: 'ignore',
    });
    expect(await new Promise((resolve) => keeper.once('exit', resolve))).toBe(1);
  });

  test('where another one is, it ends at once', async () => {
    writeFileSync(`${folder}/hold`, '');
    const first = keep(['/bin/sh', '-c', `while [ -e ${folder}/hold ]; do sleep 0.05; done`]);
    await until('the first has its lock', () => existsSync(`${folder}/.supervisor.sock`), 45_000);
    const second = spawn(`${nativeFolder}/keeper`, [folder, python, 'true'], { stdio: 'ignore' });
    expect(await new Promise((resolve) => second.once('exit', resolve))).toBe(2);
    expect(existsSync(`${folder}/.supervisor.sock`)).toBe(true);
    rmSync(`${folder}/hold`);
    expect(await first).toBe(0);
  });
});
