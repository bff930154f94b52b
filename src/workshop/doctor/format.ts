/** Findings as text for a terminal, what is wrong first, and as JSON. Pure. */
import type { HostFacts } from './facts.ts';
import { canMakeContainers, type Finding, type Level } from './judge.ts';

export const formats = ['text', 'json'] as const;
export type Format = (typeof formats)[number];

const order: readonly Level[] = ['missing', 'warning', 'unknown', 'ok'];
const titles: Record<Level, string> = {
  missing: 'Needed, and not there',
  warning: 'Some containers need it',
  unknown: 'Could not be looked at',
  ok: 'In order',
};

/** Ends with a newline. */
export function formatFindings(format: Format, facts: HostFacts, findings: readonly Finding[]): string {
  const good = canMakeContainers(findings);
  if (format === 'json') return `${JSON.stringify({ containers: good, findings, facts }, null, 2)}\n`;
  const width = Math.max(...findings.map(({ topic }) => topic.length)) + 2;
  const sections = order.flatMap((level) => {
    const some = findings.filter((one) => one.level === level);
    return some.length === 0 ? [] : [`${titles[level]}:`, ...some.flatMap((one) => lines(one, width)), ''];
  });
  return `${[...sections, verdict(findings, good)].join('\n')}\n`;
}

/** What is in order takes one line. */
function lines({ topic, level, fact, means, fix }: Finding, width: number): string[] {
  const head = `  ${topic.padEnd(width)}${fact}`;
  const below = ' '.repeat(width + 2);
  if (level === 'ok') return [head];
  return [head, `${below}${means}`, ...(fix === undefined ? [] : [`${below}fix: ${fix}`])];
}

function verdict(findings: readonly Finding[], good: boolean): string {
  const count = (level: Level) => findings.filter((one) => one.level === level).length;
  const open = count('unknown') > 0 ? `, as far as could be looked at (${count('unknown')} not)` : '';
  if (!good) return `Containers can’t be made here: ${count('missing')} of what is needed is missing.`;
  return `Containers can be made here${open}. Warnings: ${count('warning')}.`;
}
