/** tinyctr create [options] IMAGE [command…]: a container that `tinyctr start` will run. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { ensureImage, layersFolder } from '../../image/store.ts';
import { createDetached } from '../detached.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';
import { defineRun, refuseStops } from './run.ts';

export { prepare } from './run.ts';

export function define(program: Command, globals: () => Globals): void {
  const name = ['create', 'Make a container of an image, to be run by start.'] as const;
  const act: Parameters<typeof defineRun>[1] = async (image, words, options, wish) => {
    const { pull, platform, quiet = false } = wish;
    refuseStops(wish, 'go with run: create builds nothing yet');
    const { root, runRoot } = globals();
    requireRoot();
    await cleanup(root, runRoot);
    const found = await ensureImage(root, image, { pull, platform }, async (reference) => {
      const { fetchImage } = await import('../fetch-image.ts');
      return await fetchImage(globals(), reference, platform, quiet);
    });
    if (found === undefined) return;
    const request = {
      root,
      runRoot,
      image: found,
      layersFolder: layersFolder(root),
      imageName: image,
      options,
      command: words,
    };
    process.stdout.write(`${await createDetached(request)}\n`);
  };
  defineRun(program, act, name);
}
