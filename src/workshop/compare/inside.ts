/** The probe's lines as facts. Pure. */
import { errnoName } from '../../core/kernel/errno.ts';
import type { Fact } from './facts.ts';
import { probeFolder } from './tasks.ts';

/** Facts by the group that they are counted in; the others are about the process itself. */
const groups: Record<string, string> = {
  ...Object.fromEntries(['uid', 'gid', 'groups'].map((name) => [name, 'ids'])),
  ...Object.fromEntries(['pid', 'parent', 'process group', 'session'].map((name) => [name, 'process tree'])),
  ...{ 'controlling terminal': 'process tree', descriptors: 'descriptors', no_new_privs: 'seccomp and labels' },
};

export interface ProbeResult {
  facts: Fact[];
  /** It got to its end. */
  whole: boolean;
  /** What it could not find out, in words. */
  notes: string[];
}

/** `neutral` takes out what differs between two containers by nature: ids, paths of the comparison's own. */
export function parseProbe(output: string, neutral: (text: string) => string): ProbeResult {
  const facts: Fact[] = [];
  const notes: string[] = [];
  let whole = false;
  for (const line of output.split(/\r?\n/)) {
    const tab = line.indexOf('\t');
    if (tab < 0) continue;
    const [name, value] = [line.slice(0, tab), neutral(line.slice(tab + 1).trimEnd())];
    if (name === 'end') whole = true;
    else if (name === 'tasks' || name === 'calls') {
      if (value !== '0')
        notes.push(
          `the probe could not ${name === 'tasks' ? 'read its list of paths' : 'share memory with a child, so it tried no system calls'}: ${errnoOf(value)}`,
        );
    } else facts.push(factOf(name, value));
  }
  const alone = facts.filter(({ group, value }) => group === 'system calls' && value.startsWith('no child'));
  if (alone.length > 0)
    notes.push(
      `${alone.length} system calls could not be tried: the probe may have no child (${alone[0]!.value.slice(10)})`,
    );
  return { facts, whole, notes };
}

function factOf(name: string, value: string): Fact {
  if (name.startsWith('call '))
    return { group: 'system calls', subject: `call ${name.slice(5)}`, value: callText(value) };
  const task = /^([rwoc]) (.*)$/.exec(name);
  if (!task) return { group: groups[name] ?? 'process', subject: name, value: own(name, value) };
  const [, letter, path] = task as unknown as [string, 'r' | 'w' | 'o' | 'c', string];
  if (path.startsWith(`${probeFolder}/dev/`)) {
    const device = path.slice(probeFolder.length + 5).replaceAll('-', ' ');
    return {
      group: 'device rules',
      subject: `device ${device}: ${letter === 'o' ? 'read' : 'write'}`,
      value: opened(value),
    };
  }
  if (letter !== 'c')
    return { group: 'paths', subject: `path ${path}: ${letter === 'r' ? 'read' : 'write'}`, value: opened(value) };
  const text = value.startsWith('=') ? value.slice(1).trimEnd().replaceAll('\t', ' ') : errnoOf(value);
  if (path.startsWith('/proc/sys/'))
    return { group: 'sysctls', subject: `sysctl ${path.slice(10).replaceAll('/', '.')}`, value: text };
  return { group: 'process', subject: `file ${path}`, value: text };
}

/** Negative results are errnos. */
function own(name: string, value: string): string {
  if (name === 'umask') return Number(value).toString(8).padStart(4, '0');
  if (name === 'controlling terminal') return Number(value) < 0 ? `none (${errnoOf(value)})` : 'there is one';
  if (name === 'groups')
    return value
      .split(' ')
      .filter(Boolean)
      .map(Number)
      .sort((a, b) => a - b)
      .join(' ');
  return /^-\d+$/.test(value) && name !== 'nice' ? errnoOf(value) : value;
}

const errnoOf = (value: string): string => (Number(value) < 0 ? errnoName(-Number(value)) : value);

function callText(value: string): string {
  const [word, number] = value.split(' ');
  if (word === 'killed') return `killed by signal ${number}`;
  if (word === 'no') return `no child: ${errnoOf(value.slice(9))}`;
  return value === '0' ? 'succeeds' : errnoOf(value);
}

/** "0 entries 3", "0 read 1", "-13". */
function opened(value: string): string {
  const [result, what, count] = value.split(' ');
  if (result !== '0') return errnoOf(result!);
  if (what === 'entries') return Number(count) < 0 ? errnoOf(count!) : count === '0' ? 'an empty folder' : 'a folder';
  if (what === 'read')
    return Number(count) < 0 ? `opens, reading is ${errnoOf(count!)}` : count === '0' ? 'empty' : 'has content';
  return 'opens';
}
