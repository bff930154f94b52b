/** A comparison as text and as JSON. Pure. */
import type { Report } from './compare.ts';
import type { Difference } from './facts.ts';
import { formatRows } from './syscalls.ts';

export const formats = ['text', 'json'] as const;
export type Format = (typeof formats)[number];

/** Ends with a newline. */
export function formatReport(format: Format, what: string, report: Report): string {
  return format === 'json' ? `${JSON.stringify(jsonReport(what, report), null, 2)}\n` : textReport(what, report);
}

/** Those that docs/differences.md does not explain: they make the exit status 1. */
export const unexplained = ({ differences }: Report): Difference[] =>
  differences.filter((one) => one.explained === undefined);

function jsonReport(what: string, report: Report): object {
  const { runtimes, differences, equal, notes, times } = report;
  return {
    configuration: what,
    runtimes: runtimes.map(({ name, version }) => ({ name, version })),
    same: unexplained(report).length === 0,
    differences: differences.map(({ group, subject, ours, theirs, explained }) => ({
      ...{ group, subject, ours: ours ?? null, theirs: theirs ?? null, explained: explained ?? null },
    })),
    equal,
    notes,
    times,
    ...(report.syscalls ? { syscalls: report.syscalls } : {}),
  };
}

function textReport(what: string, report: Report): string {
  const { runtimes, equal, notes, times } = report;
  const [ours, theirs] = runtimes;
  const open = unexplained(report);
  const known = report.differences.filter((one) => one.explained !== undefined);
  const width = Math.max(...runtimes.map(({ name }) => name.length), 'because'.length) + 2;
  const row = (name: string, text: string) => `    ${name.padEnd(width)}${text}`;
  const shown = ({ subject, ours: a, theirs: b, explained }: Difference) => [
    `  ${subject}`,
    row(ours.name, shownValue(a, b)),
    row(theirs.name, shownValue(b, a)),
    ...(explained === undefined ? [] : [row('because', explained)]),
  ];
  const section = (title: string, list: readonly Difference[]) =>
    list.length === 0 ? [] : ['', title, ...list.flatMap(shown)];
  const counts = Object.entries(equal).map(([group, count]) => `${group} ${count}`);
  const sum = Object.values(equal).reduce((a, b) => a + b, 0);
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const lines = [
    `${what} under ${ours.name} ${ours.version} and ${theirs.name} ${theirs.version}`,
    ...section(`${counted(open.length, 'difference')} that nobody has explained:`, open),
    ...section(`${counted(known.length, 'difference')} that docs/differences.md explains:`, known),
    '',
    ...(report.differences.length === 0 ? ['No difference.'] : []),
    `The same: ${sum} facts (${counts.join(', ')})`,
    `Time: create ${ms(times[0].createMs)} and ${ms(times[1].createMs)}, start ${ms(times[0].startMs)} and ${ms(times[1].startMs)} (measured once)`,
    ...notes.map((note) => `Note: ${note}`),
  ];
  const calls = report.syscalls ? `\n${formatRows(report.syscalls, [ours.name, theirs.name])}` : '';
  return `${lines.join('\n')}\n${calls}`;
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** Of two long lists of words only what the other has not. */
function shownValue(value: string | undefined, other: string | undefined): string {
  if (value === undefined) return 'has none';
  if (value === '') return 'empty';
  if (value.length < 100 || other === undefined) return value;
  const words = value.split(' ');
  const only = words.filter((word) => !other.split(' ').includes(word));
  if (only.length === 0)
    return `${words.length} words, all of them the other’s too${words.length === other.split(' ').length ? ', in another order' : ''}`;
  return only.length === words.length ? value : `… ${only.join(' ')} … (${words.length} words)`;
}
