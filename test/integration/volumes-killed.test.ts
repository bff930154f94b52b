/**
 * kill -9 at steps of the commands that make, fill and remove volumes: the next commands find a volume that is whole, or none, and
 * clean up. Every step with TINYCTR_SLOW_TESTS (test/slow), else some of each operation.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dyingAt, type Step, stepsOf } from '../support/killed.ts';
import { needs } from '../support/need.ts';
import { Engine } from '../support/tinyctr.ts';

const every = process.env.TINYCTR_SLOW_TESTS !== undefined;
/** How many steps of each operation are tried else. */
const some = 5;

describe('kill -9 at each step', needs({ root: true, command: 'strace' }), () => {
  let engine: Engine;
  let image: string;
  beforeAll(async () => {
    engine = await new Engine().prepare();
    image = await engine.image((rootfs) => {
      mkdirSync(`${rootfs}/data/sub`, { recursive: true });
      for (const name of ['one', 'two', 'sub/three']) writeFileSync(`${rootfs}/data/${name}`, `${name}\n`);
    });
    await engine.must('run', '--rm', '-v', 'first:/data', image, 'true'); // it makes what stays
    await engine.must('volume', 'rm', 'first');
  });
  afterAll(() => engine.remove());

  const volumes = () => readdirSync(`${engine.root}/volumes`);
  const operations: Record<string, { words: () => string[]; before?: string[]; after: () => Promise<void> }> = {
    'create, which makes and fills one': {
      words: () => ['create', '-v', 'data:/data', image, 'true'],
      after: expectWhole,
    },
    'run --rm, with an anonymous one': {
      words: () => ['run', '--rm', '-v', '/data', image, 'true'],
      after: async () => undefined,
    },
    'rm -v': {
      words: () => ['rm', '-v', 'made'],
      before: ['create', '--name', 'made', '-v', '/data'],
      after: async () => {
        const { code } = await engine.run('rm', '-v', 'made');
        expect([0, 1]).toContain(code);
      },
    },
    'volume rm': {
      words: () => ['volume', 'rm', 'data'],
      before: ['run', '--rm', '-v', 'data:/data'],
      after: expectWhole,
    },
  };

  /** Whoever comes next finds all of it, whether it was there already or not. */
  async function expectWhole(): Promise<void> {
    const script = 'cd /data && cat one two sub/three && ls -A . sub | wc -l';
    expect(await engine.run('run', '--rm', '-v', 'data:/data', image, 'sh', '-c', script)).toMatchObject({
      ...{ code: 0, stdout: 'one\ntwo\nsub/three\n7\n', stderr: '' },
    });
    expect(readdirSync(`${engine.root}/volumes/data`).sort()).toEqual(['_data', 'volume.json']);
  }

  async function bring(before: string[] | undefined): Promise<void> {
    if (before) await engine.must(...before, image, 'true');
  }

  /** As if nothing had been: what the commands themselves can't tell of is not there. */
  async function removeAll(): Promise<void> {
    const { code, stderr } = await engine.run('cleanup');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const ids = engine.containers();
    if (ids.length > 0) await engine.must('rm', '-f', '-v', ...ids);
    if (existsSync(`${engine.root}/volumes/data`)) await engine.must('volume', 'rm', 'data');
    expect({ volumes: volumes(), states: engine.states() }).toEqual({ volumes: [], states: [] });
  }

  async function die({ call, nth }: Step, command: readonly string[]): Promise<boolean> {
    const [first, ...words] = [...dyingAt(call, nth), ...command];
    const child = spawn(first!, words, { cwd: engine.folder, stdio: 'ignore' });
    return (
      (await new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)))) === 'SIGKILL'
    );
  }

  test.each(Object.entries(operations))(
    'of %s',
    async (_name, { words, before, after }) => {
      const command = [...engine.command, ...words()];
      await bring(before);
      const steps = await stepsOf(command, engine.folder, engine.root);
      expect(steps.length).toBeGreaterThanOrEqual(some);
      await removeAll();
      let killed = 0;
      const stride = every ? 1 : Math.ceil(steps.length / some);
      for (let i = stride >> 1; i < steps.length; i += stride) {
        const { call, nth, text } = steps[i]!;
        try {
          await bring(before);
          if (await die(steps[i]!, command)) killed++;
          await after();
          await removeAll();
        } catch (error) {
          throw new Error(`killed at ${call} number ${nth}, ${text}: ${(error as Error).message}`, { cause: error });
        }
      }
      expect(killed).toBeGreaterThan(0.7 * (steps.length / stride));
    },
    400_000,
  );
});
