/** tinyctr load: images that docker, podman, skopeo or buildx have saved. */
import type { Command } from 'commander';
import { imageEvent, tell } from '../../engine/journal.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('load')
    .description('Load saved images: a docker archive or an OCI layout, as a tar archive or a directory.')
    .option('-i, --input <source>', 'FILE, DIR or - for stdin', '-')
    .option('-q, --quiet', 'print nothing')
    .action(async (options: { input: string; quiet?: boolean }) => {
      requireRoot();
      const { loadImages } = await import('../../image/load.ts');
      const { root } = globals();
      for (const { id, names } of await loadImages(root, options.input)) {
        tell(root, [imageEvent('load', `sha256:${id}`, `sha256:${id}`)]);
        if (options.quiet) continue;
        const tags = names.filter((name) => !name.includes('@'));
        for (const tag of tags) process.stdout.write(`Loaded image: ${tag}\n`);
        if (tags.length === 0) process.stdout.write(`Loaded image ID: sha256:${id}\n`);
      }
    });
}
