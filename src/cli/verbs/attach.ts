/** tinyctr attach CONTAINER: its output here, its input from here. */
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { factsOf } from '../../engine/container-facts.ts';
import { findContainer } from '../../engine/containers.ts';
import { DETACH_KEYS } from '../../engine/detach-keys.ts';
import { attach } from '../attach.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export { prepareSigProxy as prepare } from '../sig-proxy.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('attach')
    .description('Show what a running container writes, and give it what is typed.')
    .argument('<container>', 'name, id or beginning of an id')
    .option('--no-stdin', 'give it nothing')
    .option('--detach-keys <keys>', `what leaves it running, ${DETACH_KEYS} by default`)
    .option('--sig-proxy', 'signals are the container’s, the default (--sig-proxy=false)')
    .addOption(new Option('--no-sig-proxy').hideHelp())
    .action(async (reference: string, given: { stdin: boolean; detachKeys?: string; sigProxy?: boolean }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const [facts] = factsOf(root, runRoot, [findContainer(root, reference)]);
      const { id } = facts!.record;
      if (facts!.status !== 'running')
        throw new ContainerError(
          `container ${id.slice(0, 12)} is ${facts!.status}: only a running one can be attached to`,
          {
            exitCode: 1,
          },
        );
      const { stdin: input, detachKeys: keys, sigProxy: proxy = true } = given;
      process.exitCode = await attach(globals(), id, { input, keys, proxy });
    });
}
