/** tinyctr inspect: everything about containers and images, as JSON with docker's field names. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { factsOf, inspectContainer } from '../../engine/container-facts.ts';
import { containersNamed } from '../../engine/containers.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { inspectImage } from '../../image/present.ts';
import { findImage, listImages } from '../../image/records.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  defineInspect(program, 'containers and images', 'container or image', (name) => {
    const { root, runRoot } = globals();
    return inspectContainerNamed(root, runRoot, name) ?? inspectImageNamed(root, name);
  });
  program.commands.at(-1)!.hook('preAction', () => cleanup(globals().root, globals().runRoot).then(() => undefined));
}

/** `image inspect`. */
export function defineImageInspect(image: Command, globals: () => Globals): void {
  defineInspect(image, 'images', 'image', (name) => inspectImageNamed(globals().root, name));
}

function defineInspect(
  parent: Command,
  many: string,
  one: string,
  look: (name: string) => Record<string, unknown> | undefined,
): void {
  parent
    .command('inspect')
    .description(`Show all about ${many} as JSON.`)
    .argument('<name...>', 'names or ids')
    .option('-f, --format <format>', 'json; for a single value there is jq')
    .action((names: string[], { format = 'json' }: { format?: string }) => {
      if (format !== 'json')
        throw new UsageError(
          `--format '${format}': Go's templates are not there; tinyctr inspect NAME | jq '.[0].Id' does it`,
        );
      requireRoot();
      const found = names.map(look);
      const there = found.filter((each) => each !== undefined);
      process.stdout.write(`${JSON.stringify(there, null, 4)}\n`);
      const missing = names.filter((_, i) => found[i] === undefined);
      if (missing.length > 0)
        throw new ContainerError(missing.map((name) => `No such ${one}: ${name}`).join('\n'), { exitCode: 1 });
    });
}

function inspectContainerNamed(root: string, runRoot: string, name: string): Record<string, unknown> | undefined {
  const found = containersNamed(root, name);
  if (found.length !== 1) return undefined;
  return inspectContainer(root, runRoot, factsOf(runRoot, found)[0]!);
}

/** An image as `inspect` shows it, with all its names; undefined when there is none. */
export function inspectImageNamed(root: string, name: string): Record<string, unknown> | undefined {
  const id = findImage(root, name)?.id;
  const image = listImages(root).find((one) => one.id === id);
  return image === undefined ? undefined : inspectImage(image);
}
