/** tinyctr info: this host as tinyctr sees it, and who looks after its containers. */
import { arch, availableParallelism, release, totalmem } from 'node:os';
import { type Command, Option } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { listContainers } from '../../engine/containers.ts';
import { listIds } from '../../image/records.ts';
import { listStates } from '../../lifecycle/state.ts';
import { supervisorPids } from '../../supervisor/client.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('info')
    .description('Tell of this host, its containers and who looks after them.')
    .addOption(new Option('--format <format>', 'of the output').choices(['text', 'json']).default('text'))
    .action(async ({ format }: { format: 'text' | 'json' }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const { pid, keeperPid, protocol } = await supervisorPids(root, runRoot);
      const running = new Set(listStates(runRoot));
      const containers = listContainers(root);
      const facts = {
        Containers: containers.length,
        ContainersRunning: containers.filter(({ id }) => running.has(id)).length,
        ContainersStopped: containers.filter(({ id }) => !running.has(id)).length,
        Images: listIds(root).length,
        DockerRootDir: root,
        KernelVersion: release(),
        Architecture: arch(),
        NCPU: availableParallelism(),
        MemTotal: totalmem(),
        CgroupVersion: '2',
        CgroupDriver: 'cgroupfs',
        LoggingDriver: 'json-file',
        ServerVersion: program.version()!,
        supervisor: { pid, keeperPid, protocol, runRoot },
      };
      if (format === 'json') process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`);
      else process.stdout.write(`${inText(facts)}`);
    });
}

function inText(facts: Record<string, unknown>, indent = ''): string {
  return Object.entries(facts)
    .map(([name, value]) =>
      typeof value === 'object'
        ? `${indent}${name}:\n${inText(value as Record<string, unknown>, `${indent}  `)}`
        : `${indent}${name}: ${value}\n`,
    )
    .join('');
}
