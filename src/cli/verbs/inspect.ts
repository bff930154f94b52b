/** tinyctr inspect: everything about containers and images, as JSON with docker's field names. */
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { factsOf } from '../../engine/container-facts.ts';
import { containersNamed, severalIds } from '../../engine/containers.ts';
import { inspectContainer } from '../../engine/inspect.ts';
import { inspectImage } from '../../image/present.ts';
import { findImage, listImages } from '../../image/records.ts';
import { printError } from '../errors.ts';
import { checkFormat } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

type Document = Record<string, unknown>;
type Kind = 'container' | 'image';

interface Wish {
  format?: string;
  type?: Kind;
  size?: boolean;
}

export function define(program: Command, globals: () => Globals): void {
  const look = async (name: string, { type, size = false }: Wish): Promise<Document | undefined> => {
    const { root, runRoot } = globals();
    const container = type === 'image' ? undefined : inspectContainerNamed(root, runRoot, name, size);
    return container ?? (type === 'container' ? undefined : inspectImageNamed(root, name));
  };
  defineInspect(program, globals, 'tinyctr inspect', 'containers and images', 'container or image', look)
    .addOption(new Option('--type <type>', 'only such things').choices(['container', 'image']))
    .option('-s, --size', 'of containers also what they wrote')
    .hook('preAction', async () => void (await cleanup(globals().root, globals().runRoot)));
}

/** `container inspect`. */
export function defineContainerInspect(container: Command, globals: () => Globals): void {
  const look = async (name: string, { size = false }: Wish) =>
    inspectContainerNamed(globals().root, globals().runRoot, name, size);
  defineInspect(container, globals, 'tinyctr container inspect', 'containers', 'container', look)
    .option('-s, --size', 'also what they wrote')
    .hook('preAction', async () => void (await cleanup(globals().root, globals().runRoot)));
}

/** `image inspect`. */
export function defineImageInspect(image: Command, globals: () => Globals): void {
  const look = async (name: string) => inspectImageNamed(globals().root, name);
  defineInspect(image, globals, 'tinyctr image inspect', 'images', 'image', look);
}

/** `one`: what a name that is nothing's is none of. */
function defineInspect(
  parent: Command,
  globals: () => Globals,
  command: string,
  many: string,
  one: string,
  look: (name: string, wish: Wish) => Promise<Document | undefined>,
): Command {
  return parent
    .command('inspect')
    .description(`Show all about ${many} as JSON.`)
    .argument('<name...>', 'names or ids')
    .option('-f, --format <format>', 'json; for a single value there is jq')
    .action(async (names: string[], wish: Wish) => {
      if (wish.format !== undefined) checkFormat(wish.format, ['json'], `${command} ${names[0]}`, 'array');
      requireRoot();
      const found: Document[] = [];
      const failed: unknown[] = [];
      for (const name of names)
        try {
          const document = await look(name, wish);
          if (document) found.push(document);
          else failed.push(new ContainerError(`No such ${wish.type ?? one}: ${name}`));
        } catch (error) {
          failed.push(error); // the others are shown all the same
        }
      process.stdout.write(`${wish.format === 'json' ? JSON.stringify(found) : JSON.stringify(found, null, 4)}\n`);
      for (const error of failed) await printError(error, globals());
      if (failed.length > 0) process.exitCode = 1;
    });
}

function inspectContainerNamed(root: string, runRoot: string, name: string, size: boolean): Document | undefined {
  const found = containersNamed(root, name);
  if (found.length > 1) throw severalIds(name, found.length);
  return found.length === 0 ? undefined : inspectContainer(root, runRoot, factsOf(root, runRoot, found)[0]!, size);
}

/** An image as `inspect` shows it, with all its names; undefined when there is none. */
export function inspectImageNamed(root: string, name: string): Document | undefined {
  const id = findImage(root, name)?.id;
  const image = listImages(root).find((one) => one.id === id);
  return image === undefined ? undefined : inspectImage(image);
}
