/** tinyctr rmi: removes names, and images with their last one. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { findImage } from '../../image/records.ts';
import { removeImage } from '../../image/remove.ts';
import type { Globals } from '../globals.ts';
import { tellRemoved } from '../removed-images.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('rmi')
    .description('Remove images: names first, an image with its last name, layers with their last image.')
    .argument('<name...>', 'names or ids')
    .option('-f, --force', 'remove an image that has names in several repositories')
    .action((names: string[], options: { force?: boolean }) => {
      requireRoot();
      const failures = names.flatMap((name) => remove(globals().root, name, options.force === true) ?? []);
      if (failures.length === 1) throw failures[0];
      if (failures.length > 1)
        throw new ContainerError(failures.map(({ message }) => message).join('\n'), { exitCode: 1 });
    });
}

/** Prints what is gone. An error is returned, so that the other names get their turn. */
function remove(root: string, name: string, force: boolean): ContainerError | undefined {
  try {
    const id = findImage(root, name)?.id ?? '';
    const removed = removeImage(root, name, force);
    const { untagged, deleted } = removed;
    tellRemoved(root, `sha256:${id}`, removed);
    for (const reference of untagged) process.stdout.write(`Untagged: ${reference}\n`);
    for (const digest of deleted) process.stdout.write(`Deleted: ${digest}\n`);
    return undefined;
  } catch (error) {
    if (error instanceof ContainerError) return error;
    throw error;
  }
}
