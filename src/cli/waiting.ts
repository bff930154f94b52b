/** Which container at a step is meant. */
import { ContainerError } from '../core/kernel/error.ts';
import { cleanup } from '../engine/cleanup.ts';
import { readRecord } from '../engine/containers.ts';
import { type StepRecord, waitingSteps } from '../workshop/step-record.ts';
import type { Globals } from './globals.ts';

/** By name, id or the beginning of an id; without one the only one that waits. @throws ContainerError, exit status 1 */
export async function findWaiting({ root, runRoot }: Globals, wanted: string | undefined): Promise<StepRecord> {
  await cleanup(root, runRoot); // of a stepping tinyctr that was killed, nothing must be told
  const all = waitingSteps(runRoot);
  const name = (id: string) => readRecord(root, id)?.name;
  const found = all.filter(({ id }) => wanted === undefined || id.startsWith(wanted) || name(id) === wanted);
  const [only] = found;
  if (only && found.length === 1) return only;
  if (only)
    throw new ContainerError(`${found.length} containers wait at a step: say which`, {
      exitCode: 1,
      hint: found.map(({ id, step }) => `${name(id) ?? id.slice(0, 12)} (${step.id})`).join(', '),
    });
  throw new ContainerError(`no container ${wanted === undefined ? '' : `${wanted} `}waits at a step`, {
    exitCode: 1,
    hint: 'tinyctr run --step IMAGE, in another terminal',
  });
}
