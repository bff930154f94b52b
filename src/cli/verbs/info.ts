/** tinyctr info: this host as tinyctr sees it, and who looks after its containers. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { sizeInWords } from '../../engine/hits.ts';
import { hostFacts } from '../../engine/host-facts.ts';
import { supervisorPids } from '../../supervisor/client.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('info')
    .description('Tell of this host, its containers and who looks after them.')
    .addOption(formatOption('tinyctr info', 'object', 'text'))
    .action(async ({ format }: { format: string }) => printInfo(program, globals(), format));
}

/** `supervisor` is no name of docker's: there is nothing like it. */
async function printInfo(program: Command, { root, runRoot }: Globals, format: string): Promise<void> {
  requireRoot();
  await cleanup(root, runRoot);
  const { pid, keeperPid, protocol } = await supervisorPids(root, runRoot);
  const facts = {
    ...hostFacts(root, runRoot, program.version()!),
    supervisor: { pid, keeperPid, protocol, runRoot },
  };
  process.stdout.write(format === 'json' ? `${JSON.stringify(facts)}\n` : inText(facts));
}

function inText(
  facts: ReturnType<typeof hostFacts> & { supervisor: { pid: number; keeperPid: number; runRoot: string } },
) {
  const lines: [string, string | number | undefined][] = [
    ['Containers', facts.Containers],
    [' Running', facts.ContainersRunning],
    [' Paused', facts.ContainersPaused],
    [' Stopped', facts.ContainersStopped],
    ['Images', facts.Images],
    ['Server Version', facts.ServerVersion],
    ['Storage Driver', facts.Driver],
    ['Logging Driver', facts.LoggingDriver],
    ['Cgroup Driver', facts.CgroupDriver],
    ['Cgroup Version', facts.CgroupVersion],
    ['Security Options', facts.SecurityOptions.join(' ')],
    ['Kernel Version', facts.KernelVersion],
    ['Operating System', facts.OperatingSystem],
    ['OSType', facts.OSType],
    ['Architecture', facts.Architecture],
    ['CPUs', facts.NCPU],
    ['Total Memory', sizeInWords(facts.MemTotal)],
    ['Name', facts.Name],
    ['Root Dir', facts.DockerRootDir],
    ['Run Root', facts.supervisor.runRoot],
    ['Supervisor', `pid ${facts.supervisor.pid}, its keeper ${facts.supervisor.keeperPid}`],
  ];
  const told = lines.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${value}\n`);
  return told.concat((facts.Warnings ?? []).map((warning) => `${warning}\n`)).join('');
}
