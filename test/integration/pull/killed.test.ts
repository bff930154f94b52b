/** kill -9 when pull enters the n-th call of a kind, for every n with TINYCTR_SLOW_TESTS, else for some. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as a from '../../support/archives.ts';
import { HostileRegistry } from '../../support/hostile-registry.ts';
import { dyingAt } from '../../support/killed.ts';
import { needs } from '../../support/need.ts';
import { Engine, runProgram } from '../../support/tinyctr.ts';
import { addImage, checkNothingLeft, checkStore } from './support.ts';

const fine = process.env.TINYCTR_SLOW_TESTS !== undefined;

describe('kill -9 at each step', needs({ root: true, command: 'strace' }), () => {
  const calls = [
    'rename,renameat,renameat2',
    'unlink,unlinkat,rmdir',
    'mkdir,mkdirat',
    'flock',
    'openat',
    'write,pwrite64',
    'close',
  ];
  test.each(calls)(
    '%s: the store is right, the next pull and cleanup work',
    async (call) => {
      const registry = await HostileRegistry.start();
      const lower = a.archive(a.directory('etc/'), a.file('etc/one', '1'));
      const upper = a.archive(a.file('two', '2'), a.symlink('l', 'two'));
      addImage(registry, '1', [lower, upper]);
      const [from, fineStep] = { openat: [30, 12], 'write,pwrite64': [2, 4], close: [20, 20], 'mkdir,mkdirat': [1, 2] }[
        call
      ] ?? [1, 1];
      let killed = 0;
      for (let n = from!; ; n += fine ? fineStep! : 4 * fineStep!) {
        const engine = new Engine();
        try {
          const [strace, ...words] = dyingAt(call, n, { follow: true });
          const { signal } = await runProgram(strace!, [...words, ...engine.command, 'pull', `${registry.host}/x:1`]);
          if (signal !== 'SIGKILL') break;
          killed++;
          if (readdirSync(engine.folder).includes('root') && readdirSync(engine.root).includes('names'))
            checkStore(engine);
          if (killed % 2 === 0) {
            expect(await engine.run('cleanup')).toMatchObject({ code: 0, stderr: '' });
            if (readdirSync(engine.folder).includes('root') && readdirSync(engine.root).includes('names'))
              checkNothingLeft(engine);
          }
          expect(await engine.run('pull', `${registry.host}/x:1`)).toMatchObject({ code: 0, stderr: '' });
          expect(await engine.run('cleanup')).toMatchObject({ code: 0, stderr: '' });
          checkNothingLeft(engine);
          expect(readdirSync(`${engine.root}/images`)).toHaveLength(1);
        } finally {
          engine.remove();
        }
      }
      await registry.stop();
      expect(killed).toBeGreaterThan(fine ? 3 : 0);
    },
    300_000,
  );
});
