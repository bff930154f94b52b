/** tinyctr rm CONTAINER…: removes containers that have ended, with what they wrote. */
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import * as k from '../../core/kernel/constants.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanupOne } from '../../engine/cleanup.ts';
import { factsOf, isUp } from '../../engine/container-facts.ts';
import { type ContainerRecord, readRecord, removeContainer } from '../../engine/containers.ts';
import { containerEvent, tell } from '../../engine/journal.ts';
import { removeWithVolumes } from '../../engine/remove-container.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('rm')
    .description('Remove containers that have ended, and all they wrote.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-f, --force', 'kill those that run')
    .option('-v, --volumes', 'remove their anonymous volumes as well')
    .action(
      async (references: string[], { force = false, volumes = false }: { force?: boolean; volumes?: boolean }) => {
        await forEach(globals(), references, async (record) => {
          await remove(globals(), record, force, volumes ? removeWithVolumes : removeContainer);
          return undefined;
        });
      },
    );
}

/** Who else starts or removes it at the same time is through in a moment. */
const TRIES = 100;
const PAUSE_MS = 50;

async function remove(
  { root, runRoot }: Globals,
  record: ContainerRecord,
  force: boolean,
  removeIt: typeof removeWithVolumes,
): Promise<void> {
  const { id, name } = record;
  const [facts] = factsOf(root, runRoot, [record]);
  const isFree = () => !existsSync(`${runRoot}/${id}`); // asked while nobody can start it
  for (let tries = force ? TRIES : isUp(facts!) ? 0 : 1; tries > 0; tries--) {
    if (force) await ask(runRoot, { op: 'stop', root, id, signal: k.SIGKILL, timeoutS: 0, remove: true });
    cleanupOne(root, runRoot, id, true);
    const removed = removeIt(root, id, isFree);
    if (removed) tell(root, [containerEvent(removed, 'destroy')]);
    if (removed || readRecord(root, id) === undefined) return;
    if (force) await setTimeout(PAUSE_MS);
  }
  const status = isUp(facts!) ? facts!.status : 'being started by somebody else';
  throw new ContainerError(`container ${id.slice(0, 12)} is ${status}`, {
    exitCode: 1,
    hint: force ? undefined : `end it first, tinyctr stop ${name ?? id.slice(0, 12)}, or tinyctr rm -f`,
  });
}
