/** tinyctr-oci ps [-f table|json] ID */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { cgroupRoot } from '../../core/host/cgroup.ts';
import type { Globals } from '../globals.ts';
import { processesIn } from '../kill.ts';
import { findContainer } from '../state.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('ps')
    .description('List the processes of a container, by their pids on the host.')
    .argument('<container-id>')
    .addOption(new Option('-f, --format <format>').choices(['table', 'json']).default('table'))
    .action((id: string, options: { format: 'table' | 'json' }) => {
      const pids = processesIn(cgroupRoot() + findContainer(globals().root, id).state.cgroup);
      if (options.format === 'json') process.stdout.write(`${JSON.stringify(pids)}\n`);
      else process.stdout.write(['UID        PID        PPID       CMD', ...pids.flatMap(row)].join('\n').concat('\n'));
    });
}

/** Source: proc_pid_status(5), proc_pid_cmdline(5). */
function row(pid: number): string[] {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '?';
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    const text = [field('Uid'), String(pid), field('PPid')].map((cell) => cell.padEnd(11)).join('');
    return [text + (words || `[${field('Name')}]`)];
  } catch {
    return []; // it has ended meanwhile
  }
}
