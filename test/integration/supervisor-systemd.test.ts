/** docs/systemd: the keeper with a socket that systemd made. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { checkout, Engine, runProgram, until } from '../support/tinyctr.ts';

const PATIENCE_MS = 45_000;

/** As docs/supervisor.md installs it. */
const unit = (name: string) =>
  readFileSync(`${checkout}/docs/systemd/${name}`, 'utf8')
    .replaceAll('@tinyctr@', checkout)
    .replaceAll('@node@', process.execPath);

describe('socket activation', needs({ root: true, command: 'python3' }), () => {
  let engine: Engine;
  let systemd: ChildProcess;
  let path: string;
  beforeAll(async () => {
    process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
    engine = await new Engine().prepare();
    path = `${engine.runRoot}/.supervisor.sock`;
    mkdirSync(engine.runRoot, { recursive: true, mode: 0o700 });
    const [command] = /^ExecStart=(.*)$/m.exec(unit('tinyctr.service'))!.slice(1);
    const words = command!.replaceAll('/run/tinyctr', engine.runRoot).replaceAll('/var/lib/tinyctr', engine.root);
    const activation = `${checkout}/test/support/socket-activation.py`;
    systemd = spawn('python3', [activation, path, ...words.split(' ')], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => systemd.stdout!.once('data', resolve));
  });
  afterAll(async () => {
    await engine.run('rm', '-f', ...engine.containers());
    systemd.kill('SIGTERM');
    await until('all has gone', () => !engine.states().length, PATIENCE_MS);
    engine.remove();
    delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
  });

  const keeperPid = async () => {
    const info = JSON.parse(await engine.must('info', '--format', 'json')) as { supervisor: { keeperPid: number } };
    return info.supervisor.keeperPid;
  };

  test('a connection starts the keeper; it leaves, the socket stays, the next one starts it again', async () => {
    const id = await engine.must('run', '-d', 'busybox', 'sh', '-c', 'echo hello; exit 4');
    const first = await keeperPid();
    expect(await engine.must('wait', id)).toBe('4');
    expect(await engine.must('logs', id)).toBe('hello');
    await until('the keeper has left', () => !existsSync(`/proc/${first}`), PATIENCE_MS);
    expect(existsSync(path)).toBe(true);
    const second = await keeperPid();
    expect(second).not.toBe(first);
    expect(readFileSync(`/proc/${second}/cmdline`, 'utf8')).toContain(`keeper\0${engine.runRoot}`);
  });

  test('killed, it is started by the next command, and with it what is to come back', async () => {
    const id = await engine.must(
      'run',
      '-d',
      '--restart',
      'always',
      'busybox',
      'sh',
      '-c',
      'echo run; exec sleep 1000',
    );
    const before = await keeperPid();
    process.kill(before, 'SIGKILL');
    await until('it is dead', () => !existsSync(`/proc/${before}`), PATIENCE_MS);
    expect(await keeperPid()).not.toBe(before);
    const log = `${engine.root}/containers/${id}/container.log`;
    await until('the container is back', () => readFileSync(log, 'utf8').split('run').length === 3, PATIENCE_MS);
  });
});

test('systemd finds nothing wrong with the units', needs({ root: true, command: 'systemd-analyze' }), async () => {
  const engine = new Engine();
  try {
    const names = ['tinyctr.socket', 'tinyctr.service'];
    for (const name of names) writeFileSync(`${engine.folder}/${name}`, unit(name));
    const paths = names.map((name) => `${engine.folder}/${name}`);
    const { code, stderr } = await runProgram('systemd-analyze', ['verify', '--man=no', ...paths]);
    expect(stderr.split('\n').filter((line) => line.includes('tinyctr'))).toEqual([]);
    expect(code).toBe(0);
  } finally {
    engine.remove();
  }
});
