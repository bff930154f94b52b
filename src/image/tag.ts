/** `tag`: one more name for an image. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { nameFile, writeWhole } from './layout.ts';
import { withStoreLock } from './lock.ts';
import { needImage } from './need.ts';
import { findImage } from './records.ts';
import { parseReference } from './reference.ts';

/** The target moves when another image has it. Returns the image's id. Throws ContainerError, changing nothing. */
export async function tagImage(root: string, source: string, target: string): Promise<string> {
  const reference = parseReference(target);
  if (reference.digest !== undefined)
    throw new ContainerError(`a tag can't be given to ${target}: a digest belongs to its content`);
  const { id } = await needImage(root, source);
  withStoreLock(root, () => {
    if (findImage(root, id) === undefined) throw new ContainerError(`No such image: ${source}`, { exitCode: 1 });
    writeWhole(nameFile(root, reference), `sha256:${id}\n`);
  });
  return id;
}
