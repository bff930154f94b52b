/** `run --detach`: create, then start. */
import { type CreateRequest, createContainer } from './create.ts';
import { deleteContainer } from './delete.ts';
import type { Globals } from './globals.ts';
import { startContainer } from './start.ts';

/** On failure nothing of the container is left. */
export async function runDetached(globals: Globals, id: string, request: CreateRequest): Promise<void> {
  await createContainer(globals, id, request);
  try {
    await startContainer(globals, id);
  } catch (error) {
    await deleteContainer(globals, id, true);
    throw error;
  }
}
