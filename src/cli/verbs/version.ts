/** tinyctr version: this program's, and what it runs on, with docker's names. */
import { release } from 'node:os';
import type { Command } from 'commander';
import { goArch } from '../../engine/host-facts.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, _globals: () => Globals): void {
  program
    .command('version')
    .description('Tell the versions of tinyctr and of what it runs on.')
    .addOption(formatOption('tinyctr version', 'object', 'text'))
    .action(({ format }: { format: string }) => {
      const versions = versionsOf(program.version()!);
      process.stdout.write(format === 'json' ? `${JSON.stringify(versions)}\n` : inText(versions));
    });
}

/** Client and server are one program. */
function versionsOf(Version: string) {
  const common = { Version, Os: process.platform, Arch: goArch() };
  const KernelVersion = release();
  const engine = { Name: 'Engine', Version, Details: { Arch: common.Arch, KernelVersion, Os: common.Os } };
  const node = { Name: 'node', Version: process.versions.node, Details: { V8: process.versions.v8 } };
  return { Client: common, Server: { Components: [engine, node], ...common, KernelVersion } };
}

function inText({ Client, Server }: ReturnType<typeof versionsOf>): string {
  const lines: [string, string][] = [
    ['Client:', ''],
    [' Version:', Client.Version],
    [' OS/Arch:', `${Client.Os}/${Client.Arch}`],
    ['', ''],
    ['Server:', ''],
    ...Server.Components.flatMap(({ Name, Version }): [string, string][] => [
      [` ${Name}:`, ''],
      ['  Version:', Version],
    ]),
    [' Kernel version:', Server.KernelVersion],
  ];
  return lines.map(([name, value]) => `${name.padEnd(20)}${value}`.trimEnd().concat('\n')).join('');
}
