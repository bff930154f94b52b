/** tinyctr enter --at-step [CONTAINER] */
import { closeSync } from 'node:fs';
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { enterHalfBuilt } from '../../engine/enter.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { openProcess } from '../../lifecycle/lifecycle.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';
import { findWaiting } from '../waiting.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('enter')
    .description('Open a shell in a container that waits at a step of its construction.')
    .option('--at-step', 'the one of run --step, --pause-before, --pause-after or --freeze')
    .argument('[container]', 'name or id; needed only where more than one waits')
    .action(async (container: string | undefined, { atStep }: { atStep?: boolean }) => {
      if (!atStep) throw new UsageError('enter wants --at-step: it goes into containers that are being built only');
      requireRoot();
      const { pid, startTime, cgroup, capabilities, step } = await findWaiting(globals(), container);
      const pidfd = openProcess({ pid, startTime });
      if (pidfd === undefined)
        throw new ContainerError(`at step ${step.id} there is no process yet that could be entered`, { exitCode: 1 });
      const half = { pid, pidfd, cgroup, capabilities: BigInt(`0x${capabilities}`), step: step.id };
      process.exitCode = await enterHalfBuilt(half);
      closeSync(pidfd);
    });
}
