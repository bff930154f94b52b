/** Which container is meant, of several what becomes of the others, and signals by all their names. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine } from '../support/tinyctr.ts';

let engine: Engine;
let id = '';
const sixty = '0'.repeat(60);
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
  if (process.getuid!() !== 0) return;
  id = await engine.must('create', '--name', 'one', 'busybox', 'true');
  for (const [i, end] of ['aaaa', 'bbbb'].entries()) {
    const folder = `${engine.root}/containers/${sixty}${end}`;
    mkdirSync(folder, { mode: 0o700 });
    const record = { id: `${sixty}${end}`, name: `twin${i}`, image: '0'.repeat(64), imageName: 'x', command: ['x'] };
    writeFileSync(
      `${folder}/container.json`,
      JSON.stringify({ ...record, labels: {}, created: '2026-01-01T00:00:00.000Z' }),
    );
  }
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const verbs = [
  ...[['start'], ['stop'], ['restart'], ['kill'], ['wait'], ['logs'], ['attach', '--no-stdin'], ['pause'], ['unpause']],
  ...[['top'], ['stats', '--no-stream'], ['rm'], ['inspect'], ['exec', '', 'true'], ['rename', '', 'other']],
];
const withName = ([verb, ...rest]: string[], name: string) =>
  rest.includes('') ? [verb!, ...rest.map((word) => word || name)] : [verb!, ...rest, name];

describe('a container is named', needs({ root: true }), () => {
  test.each(verbs)('%s: unknown, and by the beginning of two ids', async (...verb) => {
    const [unknown, two] = await Promise.all(
      ['nobody', '0000'].map((name) => engine.run(...withName(verb as string[], name))),
    );
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringMatching(/no such container( or image)?: nobody/i) });
    expect(two).toMatchObject({ code: 1, stderr: expect.stringContaining('0000 is the beginning of 2 container ids') });
  });

  test('by the beginning of its id, and of several the others are done', async () => {
    const beginning = id.slice(0, 5);
    const { code, stdout, stderr } = await engine.run('start', 'nobody', beginning, 'nothing');
    expect({ code, stdout }).toEqual({ code: 1, stdout: `${beginning}\n` });
    expect(stderr.match(/no such container/g)).toHaveLength(2);
    expect(await engine.must('wait', beginning, 'one')).toBe('0\n0');
    const inspected = await engine.run('inspect', 'nobody', beginning);
    expect(inspected.code).toBe(1);
    expect(JSON.parse(inspected.stdout)).toMatchObject([{ Id: id }]);
  });
});

describe('signals', needs({ root: true }), () => {
  test.each([
    ['TERM', 143],
    ['sigterm', 143],
    ['15', 143],
    ['RTMIN+3', 128 + 37],
    ['SIGRTMAX-1', 128 + 63],
    ['KILL', 137],
  ])('stop and kill by %s: status %i', async (signal, status) => {
    const init = await engine.must('run', '-d', '--init', '--stop-signal', signal, 'busybox', 'sleep', '1000');
    expect(await engine.must('stop', '--time', '20', init)).toBe(init);
    const other = await engine.must('run', '-d', '--init', 'busybox', 'sleep', '1000');
    expect(await engine.must('kill', '-s', signal, other)).toBe(other);
    expect(await engine.must('wait', init, other)).toBe(`${status}\n${status}`);
    await engine.must('rm', init, other);
  });

  test.each([['NOPE'], ['0'], ['65'], ['RTMIN+31'], ['']])('kill -s %j is refused', async (signal) => {
    expect(await engine.run('kill', '-s', signal, 'one')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('is not a signal'),
    });
  });
});

test('nothing of a container that was looked for is changed', needs({ root: true }), () => {
  expect(readdirSync(`${engine.root}/containers/${sixty}aaaa`)).toEqual(['container.json']);
});
