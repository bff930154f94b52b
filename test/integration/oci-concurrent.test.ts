/** Many calls at once for one container: the lock lets one change it at a time, and nothing is left half done. And how delete --force waits. */
import { existsSync, readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { stepsOf } from '../support/killed.ts';
import { needs } from '../support/need.ts';
import { Engine, type Result, runProgram } from '../support/tinyctr.ts';
import { ours, Runtime, runtime } from './oci-support.ts';

const id = `many-${process.pid}`;

describe(runtime, needs({ root: true }), () => {
  let engine: Engine;
  let oci: Runtime;
  let bundle: string;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    oci = new Runtime(engine, runtime);
    bundle = oci.bundle('while :; do sleep 0.05; done');
  });

  afterEach(async () => {
    expect(await oci.call('delete', '--force', id)).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(cgroupRoot() + oci.cgroup(id))).toBe(false);
    expect(readdirSync(oci.root).filter((name) => name !== '.seccomp')).toEqual([]);
  });

  afterAll(() => engine.remove());

  /** What all have in common who were refused: one sentence, and at most a hint. */
  function expectRefusals(results: readonly Result[], sentences: RegExp): void {
    for (const { code, stderr } of results.filter((result) => result.code !== 0)) {
      expect([1, 255]).toContain(code);
      expect(stderr).toMatch(sentences);
      expect(stderr.split('\n').filter((line) => !line.startsWith('  hint:') && line !== '')).toHaveLength(1);
    }
  }

  test(
    'of twenty creates exactly one wins, the others are told that the id is taken',
    ours(runtime, 'its own words and folder'),
    async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, async () => {
          // Files: what waits at the gate keeps them open, and the end of a pipe would never come.
          const output = `${oci.folder}/output-${Math.random()}`;
          const result = await runProgram(
            'sh',
            ['-c', 'exec "$@" >/dev/null 2>"$OUTPUT"', 'sh', ...oci.command, 'create', '--bundle', bundle, id],
            { env: { OUTPUT: output } },
          );
          return { ...result, stderr: (await runProgram('cat', [output])).stdout };
        }),
      );
      expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
      expectRefusals(results, /^tinyctr-oci: container with given ID already exists\n/);
      expect(await oci.status(id)).toBe('created');
      expect(await oci.call('start', id)).toMatchObject({ code: 0, stderr: '' });
    },
  );

  const mixed = (...more: string[][]) => [
    ['start', id],
    ['start', id],
    ['exec', id, 'true'],
    ['exec', id, 'true'],
    ['exec', id, 'true'],
    ['pause', id],
    ['pause', id],
    ['resume', id],
    ['resume', id],
    ['state', id],
    ['state', id],
    ['ps', id],
    ['kill', id, 'WINCH'],
    ['kill', id, 'WINCH'],
    ['kill', '--all', id, 'WINCH'],
    ['delete', id],
    ['delete', id],
    ...more,
  ];

  /** A process that enters just before a pause is frozen with the others: somebody has to let it go. */
  async function together(calls: string[][]): Promise<Map<string, Result[]>> {
    let working = true;
    const thaw = (async () => {
      while (working) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await oci.call('resume', id);
      }
    })();
    const results = new Map<string, Result[]>();
    await Promise.all(
      calls.map(async (words) => {
        const result = await oci.call(...words);
        results.set(words[0]!, [...(results.get(words[0]!) ?? []), result]);
      }),
    );
    working = false;
    await thaw;
    return results;
  }

  const refusals =
    /^tinyctr-oci: (exec failed: )?(cannot (start|exec in|delete) (a|an|container) .*|container not (running|paused)(: \w+)?|container does not exist)\n/;

  test(
    'twenty operations at once: one start wins, each other one is done or refused, the state is legal',
    ours(runtime, 'its own words'),
    async () => {
      expect(await oci.create(bundle, id)).toMatchObject({ code: 0 });
      const results = await together(mixed(['pause', id], ['state', id], ['exec', id, 'true']));
      expectRefusals([...results.values()].flat(), refusals);
      expect(
        results
          .get('start')!
          .map(({ code }) => code)
          .filter((code) => code === 0).length,
      ).toBeLessThanOrEqual(1);
      expect(results.get('delete')!.map(({ code }) => code)).toEqual([1, 1]);
      expect(['created', 'running']).toContain(await oci.status(id));
      if ((await oci.status(id)) === 'created') expect(await oci.call('start', id)).toMatchObject({ code: 0 });
      expect(await oci.call('exec', id, 'true')).toMatchObject({ code: 0, stderr: '' });
    },
  );

  test('with a kill and two delete --force among them nothing is left', ours(runtime, 'its own words'), async () => {
    expect(await oci.create(bundle, id)).toMatchObject({ code: 0 });
    expect(await oci.call('start', id)).toMatchObject({ code: 0 });
    const results = await together(mixed(['kill', id, 'KILL'], ['delete', '--force', id], ['delete', '--force', id]));
    expect(results.get('delete')!.filter(({ code }) => code === 0).length).toBeGreaterThanOrEqual(2);
    const others = [...results].filter(([verb]) => verb !== 'exec').flatMap(([, each]) => each);
    expectRefusals(others, refusals);
    expect(await oci.status(id)).toContain('container does not exist');
  });

  test('delete --force sleeps once at most, until the kernel says that the last process has left', {
    ...needs({ command: 'strace' }),
    ...ours(runtime, 'its own system calls'),
  }, async () => {
    expect(await oci.create(bundle, id)).toMatchObject({ code: 0 });
    expect(await oci.call('start', id)).toMatchObject({ code: 0 });
    const steps = await stepsOf([...oci.command, 'delete', '--force', id], oci.folder, `${id}/lock`);
    expect(await oci.status(id)).toContain('container does not exist');
    const sleeps = steps.filter(({ call }) => /^(ppoll|poll|epoll_pwait|nanosleep|clock_nanosleep|select)$/.test(call));
    expect(sleeps.length).toBeLessThanOrEqual(1);
    for (const { text } of sleeps)
      expect(text).toMatch(/^ppoll\(\[\{fd=\d+<.*\/cgroup\.events>, events=POLLPRI\}\], 1, \{tv_sec=10/);
    expect(steps.filter(({ call }) => call === 'rmdir').map(({ text }) => text)).toEqual([
      expect.stringMatching(/cgroup.* = 0$/),
      expect.stringMatching(/\.old-.* = 0$/),
    ]);
  });
});
