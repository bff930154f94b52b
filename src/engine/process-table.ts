/** The processes of a container as a table: by the host's pids, with the host's ps(1) where options of it are given. Host side. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';

/** @throws ContainerError */
export function processTable(pids: readonly number[], psOptions: readonly string[]): string {
  if (psOptions.length > 0) return tableOfPs(psOptions, pids);
  return ['UID        PID        PPID       CMD', ...pids.flatMap(row)].join('\n').concat('\n');
}

/** The host's ps tells of all processes: the lines whose column PID has one of these pids. @throws ContainerError */
function tableOfPs(options: readonly string[], pids: readonly number[]): string {
  const env = { ...process.env, PATH: process.env.PATH ?? '/usr/bin:/bin' };
  const { status, stdout, stderr, error } = spawnSync('ps', options, { encoding: 'utf8', env });
  if (error || status !== 0) throw new ContainerError(`ps ${options.join(' ')}: ${error?.message ?? stderr.trim()}`);
  const [heading = '', ...lines] = stdout.trimEnd().split('\n');
  const column = heading.trim().split(/\s+/).indexOf('PID');
  if (column < 0) throw new ContainerError(`ps ${options.join(' ')} has no column PID, by which processes are known`);
  const ours = lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[column])));
  return [heading, ...ours].join('\n').concat('\n');
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
