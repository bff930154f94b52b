/** The processes of a container as a table: by the host's pids, with the host's ps(1) where options of it are given. Host side. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { formatColumns } from '../image/present.ts';

/** With the names of docker's answer. */
export interface ProcessTable {
  Titles: string[];
  /** A row each, the command last. */
  Processes: string[][];
}

/** As text; with options what the host's ps(1) tells. @throws ContainerError */
export function processText(pids: readonly number[], psOptions: readonly string[]): string {
  if (psOptions.length > 0) return `${psLines(psOptions, pids).join('\n')}\n`;
  const { Titles, Processes } = processTable(pids);
  return formatColumns([Titles, ...Processes]);
}

/** As data. @throws ContainerError */
export function processRows(pids: readonly number[], psOptions: readonly string[]): ProcessTable {
  return psOptions.length > 0 ? parsePs(psLines(psOptions, pids)) : processTable(pids);
}

/** What `ps -ef` tells. */
function processTable(pids: readonly number[]): ProcessTable {
  const now = Date.now();
  const names = userNames();
  return {
    Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
    Processes: pids.flatMap((pid) => row(pid, names, now)),
  };
}

/** Ticks of a second in /proc: USER_HZ, the same on all machines. proc_pid_stat(5). */
const HZ = 100;
/** Unix98 pseudo-terminals have majors 136 to 143 (Documentation/admin-guide/devices.txt). */
const PTS_MAJOR = 136;

/** None where it has ended meanwhile. Sources: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5). */
function row(pid: number, names: ReadonlyMap<string, string>, now: number): string[][] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]!;
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    // The third field of the manual is the first here.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [ppid, tty, user, system, started] = [1, 4, 11, 12, 19].map((i) => Number(fields[i])) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const usedS = (user + system) / HZ;
    const livedS = Math.max(1, uptimeS() - started / HZ);
    const share = String(Math.min(99, Math.floor((100 * usedS) / livedS)));
    const since = startTime(now - livedS * 1000, now);
    const command = plain(words || `[${name}]`);
    return [[names.get(uid) ?? uid, String(pid), String(ppid), share, since, ttyName(tty), clock(usedS), command]];
  } catch {
    return [];
  }
}

const uptimeS = (): number => Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);

/** The hour of today, or the day. */
function startTime(atMs: number, now: number): string {
  const at = new Date(atMs);
  const two = (n: number) => String(n).padStart(2, '0');
  if (now - atMs < 24 * 3_600_000 && at.getDate() === new Date(now).getDate())
    return `${two(at.getHours())}:${two(at.getMinutes())}`;
  return `${at.toLocaleString('en', { month: 'short' })}${two(at.getDate())}`;
}

function ttyName(number: number): string {
  const major = (number >> 8) & 0xfff;
  const minor = (number & 0xff) | ((number >> 12) & 0xfff00);
  if (major >= PTS_MAJOR && major < PTS_MAJOR + 8) return `pts/${minor + 256 * (major - PTS_MAJOR)}`;
  return '?';
}

function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

/** On one line, and without what a terminal would obey: a process calls itself what it likes. */
const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');

/** The host's names by id, as its ps shows them. passwd(5). */
function userNames(): Map<string, string> {
  if (!existsSync('/etc/passwd')) return new Map();
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  const pairs = lines.map((line) => line.split(':')).map(([name = '', , uid = '']) => [uid, name] as const);
  return new Map(pairs.reverse()); // the first of several names
}

/** The lines of the host's ps: it tells of all processes, the heading and those with one of these pids are ours. @throws ContainerError */
function psLines(options: readonly string[], pids: readonly number[]): string[] {
  const env = { ...process.env, PATH: process.env.PATH ?? '/usr/bin:/bin' };
  const { status, stdout, stderr, error } = spawnSync('ps', options, { encoding: 'utf8', env, maxBuffer: 64 << 20 });
  if (error || status !== 0) throw new ContainerError(`ps ${options.join(' ')}: ${error?.message ?? stderr.trim()}`);
  const [heading = '', ...lines] = stdout.trimEnd().split('\n');
  const column = heading.trim().split(/\s+/).indexOf('PID');
  if (column < 0) throw new ContainerError(`ps ${options.join(' ')} has no column PID, by which processes are known`);
  return [heading, ...lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[column])))];
}

/** Such lines taken apart; the last column has the rest of the line. */
function parsePs([heading = '', ...lines]: readonly string[]): ProcessTable {
  const Titles = heading.trim().split(/\s+/);
  const cells = (line: string) => {
    const words = line.trim().split(/\s+/);
    return [...words.slice(0, Titles.length - 1), words.slice(Titles.length - 1).join(' ')];
  };
  return { Titles, Processes: lines.map(cells) };
}
