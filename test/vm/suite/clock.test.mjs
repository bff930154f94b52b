// A clock that jumps, an hour back and then a day forward, while containers run, wait for their next start, and are stopped. Runs in the guest.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { sleep, until } from './oci.mjs';
import { checkout, run, tinyctr } from './support.mjs';

const HOUR_S = 3600;
const started = { wallMs: Date.now(), ms: performance.now() };
/** What the clock would show, had nobody set it. */
const rightMs = () => started.wallMs + performance.now() - started.ms;

async function setClock(offsetS) {
  const { code, stderr } = await run('date', ['-u', '-s', `@${Math.floor(rightMs() / 1000) + offsetS}`]);
  assert.equal(code, 0, stderr);
}

async function must(...words) {
  const { code, stdout, stderr } = await tinyctr(...words);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return stdout.trim();
}
const inspect = async (name) => JSON.parse(await must('inspect', name))[0];
const runsOf = async (name) => (await must('logs', name)).split('\n').filter((line) => line === 'run').length;

describe('a clock that jumps', () => {
  let follower;
  let followed = '';

  before(async () => {
    await must('run', '-d', '--name', 'ticks', 'busybox', 'sh', '-c', 'while :; do echo tick; sleep 0.2; done');
    await must(
      'run',
      '-d',
      '--name',
      'always',
      '--restart',
      'always',
      'busybox',
      'sh',
      '-c',
      'echo run; exec sleep 1000000',
    );
    const { root, runRoot } = await places();
    follower = spawn(`${checkout}/bin/tinyctr`, [
      '--root',
      root,
      '--run-root',
      runRoot,
      'logs',
      '-f',
      '--since',
      '1h',
      'ticks',
    ]);
    follower.stdout.on('data', (text) => {
      followed += text;
    });
    await until('the log is followed', () => followed.includes('tick'));
  });
  after(async () => {
    await setClock(0);
    follower?.kill('SIGKILL');
    await tinyctr('rm', '-f', 'ticks', 'always', 'failing', 'deaf', 'ended');
  });

  for (const [name, offsetS] of [
    ['an hour back', -HOUR_S],
    ['a day forward', 24 * HOUR_S],
  ])
    test(name, async () => {
      // One that is waiting for its next start when it happens: pauses of 100, 200, 400, 800 and 1600 ms.
      const begun = performance.now();
      await must(
        'run',
        '-d',
        '--name',
        'failing',
        '--restart',
        'on-failure:5',
        'busybox',
        'sh',
        '-c',
        'echo run; exit 1',
      );
      await must('run', '-d', '--name', 'deaf', 'busybox', 'sleep', '1000000');
      await must('run', '-d', '--name', 'ended', 'busybox', 'true');
      await must('wait', 'ended');
      const stopping = tinyctr('stop', '-t', '3', 'deaf');
      const asked = performance.now();
      await sleep(500);
      await setClock(offsetS);

      // Neither too early nor never.
      assert.equal((await stopping).code, 0);
      assert.ok(performance.now() - asked >= 3000, 'it was killed before its time');
      assert.equal((await inspect('deaf')).State.ExitCode, 137);
      await until('it came back as often as it may', async () => (await runsOf('failing')) === 6);
      assert.ok(performance.now() - begun >= 3100, 'it came back too early');
      await until('it has ended', async () => (await inspect('failing')).State.Status === 'exited');
      assert.equal(await runsOf('failing'), 6);
      const before = followed.length;
      await until('lines go on to come', () => followed.length > before + 20);

      const runs = await runsOf('always');
      const { Pid } = (await inspect('always')).State;
      process.kill(Pid, 'SIGKILL');
      await until('it is back', async () => (await runsOf('always')) === runs + 1);

      // By the kernel's clock these containers are some minutes old at most.
      for (const line of (await must('ps', '-a', '--format', 'json')).split('\n').map((text) => JSON.parse(text))) {
        assert.doesNotMatch(`${line.Status} ${line.RunningFor}`, /-\d|NaN/);
        if (line.State === 'running')
          assert.match(line.Status, /^Up (Less than a second|\d+ seconds?|About a minute|\d+ minutes)$/);
      }
      await must('rm', '-f', 'failing', 'deaf', 'ended');
    });
});

/** The places that support.mjs has chosen. */
async function places() {
  const { DockerRootDir: root, supervisor } = JSON.parse(await must('info', '--format', 'json'));
  return { root, runRoot: supervisor.runRoot };
}
