/** tinyctr stop CONTAINER…: asks it to end, and kills it when it does not. */
import { type Command, Option } from 'commander';
import { parseSignal } from '../../engine/identity.ts';
import { parseWhole } from '../../engine/sizes.ts';
import { DEFAULT_STOP_TIMEOUT_S, storedIfWhole } from '../../engine/stored-file.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('stop')
    .description('Ask containers to end: their stop signal (SIGTERM), then SIGKILL.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-t, --timeout <seconds>', 'how long to wait before it is killed')
    .addOption(olderName())
    .option('-s, --signal <signal>', 'the signal that asks')
    .action(async (references: string[], given: StopOptions) => {
      const wish = stopWish(given);
      await forEach(globals(), references, async ({ id }) => {
        await stopContainer(globals(), id, wish);
        return undefined;
      });
    });
}

export interface StopOptions {
  timeout?: string;
  time?: string;
  signal?: string;
}

/** What docker called --timeout until version 28. */
export const olderName = (): Option => new Option('--time <seconds>').hideHelp();

/** @throws UsageError */
export function stopWish({ time, timeout = time, signal }: StopOptions): StopWish {
  return {
    ...(timeout === undefined ? {} : { timeoutS: parseWhole('--timeout', timeout, 0, 1_000_000) }),
    ...(signal === undefined ? {} : { signal: parseSignal('--signal', signal) }),
  };
}

interface StopWish {
  timeoutS?: number;
  signal?: number;
}

/** Says why, where it had to wait in vain. */
export async function stopContainer({ root, runRoot }: Globals, id: string, wish: StopWish): Promise<void> {
  const { forced } = await ask(runRoot, { op: 'stop', root, id, ...wish });
  if (!forced) return;
  const seconds = wish.timeoutS ?? storedIfWhole(root, id)?.stopTimeoutS ?? DEFAULT_STOP_TIMEOUT_S;
  if (seconds === 0) return; // nobody was asked to wait
  process.stderr.write(
    `tinyctr: ${id.slice(0, 12)} did not end within ${seconds} s and was killed\n` +
      '  hint: process 1 of a container ignores a signal that it has no handler for; --init puts one in front that passes it on,\n' +
      '  --stop-signal names another signal\n',
  );
}
