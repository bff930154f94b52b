/** tinyctr inspect: everything about images, as JSON with docker's field names. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { inspectImage } from '../../image/present.ts';
import { findImage, listImages } from '../../image/records.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('inspect')
    .description('Show all about images as JSON.')
    .argument('<name...>', 'names or ids')
    .action((names: string[]) => {
      requireRoot();
      const { root } = globals();
      const found = names.map((name) => inspectImageNamed(root, name));
      process.stdout.write(
        `${JSON.stringify(
          found.filter((one) => one !== undefined),
          null,
          4,
        )}\n`,
      );
      const missing = names.filter((_, i) => found[i] === undefined);
      if (missing.length > 0)
        throw new ContainerError(missing.map((name) => `No such image: ${name}`).join('\n'), { exitCode: 1 });
    });
}

/** An image as `inspect` shows it, with all its names; undefined when there is none. */
export function inspectImageNamed(root: string, name: string): Record<string, unknown> | undefined {
  const id = findImage(root, name)?.id;
  const image = listImages(root).find((one) => one.id === id);
  return image === undefined ? undefined : inspectImage(image);
}
