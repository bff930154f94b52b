/** tinyctr create [options] IMAGE [command…]: a container that `tinyctr start` will run. */
import type { Command } from 'commander';
import { UsageError } from '../../engine/usage-error.ts';
import { createDetached } from '../detached.ts';
import type { Globals } from '../globals.ts';
import { defineRun, refuseWatching, requestOf } from './run.ts';

export { prepare } from './run.ts';

export function define(program: Command, globals: () => Globals): void {
  defineRun(
    program,
    async (image, words, options, wish) => {
      if (options.detach) throw new UsageError('create runs nothing: without -d');
      refuseWatching(wish, 'go with run: create builds nothing yet');
      const request = await requestOf(globals(), image, words, options, wish);
      if (request) process.stdout.write(`${await createDetached(request)}\n`);
    },
    ['create', 'Make a container of an image, to be run by start.'],
  );
}
