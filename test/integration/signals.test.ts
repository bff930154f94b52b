/** Signals sent to tinyctr, which the container's process gets. */
import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine, readIfThere, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

/** Runs a script; each time it writes "ready" the next signal is sent. */
function runWithSignals(script: string, signals: NodeJS.Signals[], ...options: string[]) {
  let seen = 0;
  const onStdout = (text: string, child: ChildProcess) => {
    const ready = text.split('ready\n').length - 1;
    for (; seen < ready && seen < signals.length; seen++) child.kill(signals[seen]);
  };
  return engine.runWith({ onStdout }, 'run', '--rm', ...options, 'busybox', 'sh', '-c', script);
}

const loop = 'echo ready; while :; do sleep 0.02; done';

/** Processes in a container of this engine's whose arguments these are. */
const processesWithCommand = (text: string) =>
  engine
    .states()
    .map((id) => readIfThere(`${engine.runRoot}/${id}/state.json`))
    .map((state) => (JSON.parse(state || '{}') as { pid?: number }).pid)
    .filter((pid) => pid && readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() === text);

describe('signals', needs({ root: true }), () => {
  test.each([
    ['SIGTERM', 'TERM'],
    ['SIGINT', 'INT'],
    ['SIGHUP', 'HUP'],
    ['SIGQUIT', 'QUIT'],
    ['SIGUSR1', 'USR1'],
    ['SIGUSR2', 'USR2'],
    ['SIGALRM', 'ALRM'],
    ['SIGCONT', 'CONT'],
  ] as [NodeJS.Signals, string][])('%s arrives', async (signal, name) => {
    const result = await runWithSignals(`trap 'echo got ${name}; exit 20' ${name}; ${loop}`, [signal]);
    expect(result).toMatchObject({ code: 20, stdout: `ready\ngot ${name}\n`, stderr: '' });
  });

  test('each of many signals arrives, and the container goes on', async () => {
    const script = `trap 'n=$((n+1)); echo ready' USR2; trap 'echo $n; exit 0' TERM; ${loop}`;
    const result = await runWithSignals(script, ['SIGUSR2', 'SIGUSR2', 'SIGUSR2', 'SIGTERM']);
    expect(result).toMatchObject({ code: 0, stdout: 'ready\nready\nready\nready\n3\n' });
  });

  test('to an ordinary user’s process too', async () => {
    const result = await runWithSignals(`trap 'exit 21' TERM; ${loop}`, ['SIGTERM'], '-u', 'nobody');
    expect(result.code).toBe(21);
  });

  test.each([['SIGINT'], ['SIGTERM']] as [NodeJS.Signals][])(
    'process 1 without a handler ignores %s; the third one kills',
    async (signal) => {
      const child = engine.spawn('run', '--rm', 'busybox', 'sleep', '60');
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await until('the container runs', () => processesWithCommand('sleep 60').length > 0);
      for (const sent of [1, 2]) {
        child.kill(signal);
        await new Promise((resolve) => setTimeout(resolve, 150));
        expect({ sent, exitCode: child.exitCode }).toEqual({ sent, exitCode: null });
      }
      child.kill(signal);
      expect(await ended).toBe(137);
    },
  );

  test('the same signal to the whole group, as a shell’s Ctrl-C, arrives once', async () => {
    const script = `trap 'n=$((n+1)); echo got $n' INT; trap 'exit 0' TERM; echo ready; i=0; while [ $i -lt 20 ]; do sleep 0.02; i=$((i+1)); done; echo ready; while :; do sleep 0.02; done`;
    const result = await runWithSignals(script, ['SIGINT', 'SIGTERM']);
    expect(result).toMatchObject({ code: 0, stdout: 'ready\ngot 1\nready\n' });
  });

  test('a signal before the container runs is not lost: tinyctr ends', async () => {
    for (const delayMs of [5, 20, 35, 50, 65, 80]) {
      const started = Date.now();
      const child = engine.spawn(
        'run',
        '--rm',
        'busybox',
        'sh',
        '-c',
        "trap 'exit 22' TERM; while :; do sleep 0.02; done",
      );
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGTERM');
      // sh may not have set its trap yet; as process 1 it then ignores the signal, so insist as a user would.
      const again = setInterval(() => child.kill('SIGTERM'), 400);
      const status = await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
      clearInterval(again);
      expect(['SIGTERM', 143, 22, 137]).toContain(status);
      expect(Date.now() - started).toBeLessThan(8000);
    }
    expect(await engine.run('cleanup')).toMatchObject({ code: 0 });
    expect(engine.states()).toEqual([]);
    expect(engine.containers()).toEqual([]);
  });
});
