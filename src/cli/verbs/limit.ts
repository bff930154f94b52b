/** tinyctr limit [options] -- COMMAND…: limits alone, no container. A cgroup is a thing of its own. */
import { writeSync } from 'node:fs';
import { release } from 'node:os';
import type { Command } from 'commander';
import type { CgroupPlan } from '../../core/plan/plan.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { readUse } from '../../engine/hits.ts';
import { type LimitTold, limit } from '../../engine/limit.ts';
import type { LimitOptions } from '../../engine/options.ts';
import { deviceProgramInWords } from '../../workshop/device-words.ts';
import type { Globals } from '../globals.ts';
import { printHits } from '../hits.ts';
import { addRow, limitOptions, refuse, refusedLimits } from '../limit-options.ts';
import { debugObserver } from '../observe.ts';
import { requireKernel } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('limit')
    .description('Run a command under limits: in a cgroup of its own, and in nothing else.')
    .argument('<command...>', 'after --')
    .option('-v, --show', 'print the cgroup’s path, the files that are written, and at the end what was used')
    .passThroughOptions();
  for (const row of limitOptions) addRow(command, row);
  for (const [flags, reason] of refusedLimits) refuse(command, flags, reason);
  command.action(async (words: string[], given: LimitOptions & { show?: boolean }) => {
    const { root, debug } = globals();
    const runRoot = ownRunRoot(globals());
    requireKernel(release());
    await cleanup(root, runRoot);
    const { show = false, ...options } = given;
    const observer = debug ? await debugObserver(globals()) : undefined;
    process.exitCode = await limit({ root, runRoot, options, command: words, observer, tell: teller(show, globals()) });
  });
}

/** A user other than root, in a cgroup that was delegated, has a run folder of its own. */
function ownRunRoot({ runRoot }: Globals): string {
  const own = process.env.XDG_RUNTIME_DIR;
  return runRoot === '/run/tinyctr' && own && process.getuid!() !== 0 ? `${own}/tinyctr` : runRoot;
}

function teller(show: boolean, globals: Globals): LimitTold {
  const say = (text: string) => writeSync(2, `tinyctr: ${text}\n`);
  return {
    ...(show && { made: showMade }),
    async ended(folder, left, hits) {
      if (left > 0)
        say(`${left === 1 ? 'one process' : `${left} processes`} that the command left behind ended with the cgroup`);
      if (show) say(`used: ${readUse(folder)}`);
      await printHits(hits, globals);
    },
  };
}

function showMade(folder: string, { files, devices }: CgroupPlan): void {
  const lines = [`tinyctr: cgroup ${folder}`];
  for (const { file, value, option } of files)
    lines.push(`  ${file.padEnd(17)} ${value.replaceAll('\n', ' / ').padEnd(14)} ${option}`);
  for (const words of devices ? deviceProgramInWords(devices.program) : []) lines.push(`  eBPF program      ${words}`);
  writeSync(2, `${lines.join('\n')}\n`);
}
