/** Verbs that do one thing to each of several containers, as docker's: one that fails does not keep the others from it. */
import { cleanup } from '../engine/cleanup.ts';
import { type ContainerRecord, findContainer } from '../engine/containers.ts';
import { printError } from './errors.ts';
import type { Globals } from './globals.ts';
import { requireRoot } from './require.ts';

/** Prints what `act` returns, the reference if that is undefined, nothing if it is null. The exit status is 1 if one of them failed. */
export async function forEach(
  globals: Globals,
  references: readonly string[],
  act: (record: ContainerRecord) => Promise<string | null | undefined>,
): Promise<void> {
  const { root, runRoot } = globals;
  requireRoot();
  await cleanup(root, runRoot);
  for (const reference of references)
    try {
      const text = await act(findContainer(root, reference));
      if (text !== null) process.stdout.write(`${text ?? reference}\n`);
    } catch (error) {
      await printError(error, globals);
      process.exitCode = 1;
    }
}
