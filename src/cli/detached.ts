/** `tinyctr run -d` and `create`: a container that the supervisor runs. */

import { existsSync } from 'node:fs';
import type { StoreRequest } from '../engine/asked.ts';
import { containerEvent, tell } from '../engine/journal.ts';
import { lifeOptions } from '../engine/life-options.ts';
import { removeWithVolumes } from '../engine/remove-container.ts';
import { createStored } from '../engine/stored.ts';
import { ask } from '../supervisor/client.ts';

export async function createDetached(request: StoreRequest): Promise<string> {
  const { id, release } = await create(request);
  release();
  return id;
}

/** Does not look at who calls: a container that nobody attends has a terminal only if that was said. */
async function create(request: StoreRequest): Promise<{ id: string; release: () => void }> {
  const { tty = false, interactive = false } = request.options;
  const options = { ...request.options, tty, interactive };
  return await createStored({ ...request, options }, lifeOptions(options));
}

/** Returns the id of a container that runs. */
export async function runDetached(request: StoreRequest): Promise<string> {
  const { root, runRoot, options } = request;
  const { id, release } = await create(request);
  try {
    await ask(runRoot, { op: 'start', root, id });
  } catch (error) {
    const mayGo = () => !existsSync(`${runRoot}/${id}`); // unless it runs: the supervisor was killed before it could say so
    const removed = options.rm ? removeWithVolumes(root, id, mayGo) : undefined;
    if (removed) tell(root, [containerEvent(removed, 'destroy')]);
    throw error;
  } finally {
    release();
  }
  return id;
}
