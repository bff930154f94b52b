/** The differences that docs/differences.md explains, out of its table: exact subjects with exact values. Pure. */
import type { Difference } from './facts.ts';

export interface KnownDifference {
  subject: string;
  ours: string;
  theirs: string;
  /** Names of runtimes as their --version begins: runc, crun. */
  runtimes: string[];
  why: string;
}

const HEADING = '## Seen by tinyctr compare';

/** Rows | subjects | tinyctr-oci | other | runtimes | why |; a cell's value stands in backticks; "none" without them is a missing fact, "*" any value. */
export function parseKnown(page: string): KnownDifference[] {
  const start = page.indexOf(`\n${HEADING}\n`);
  if (start < 0) return [];
  const section = page.slice(start + HEADING.length + 2).split('\n## ')[0]!;
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => {
      const cells = line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|'));
      const [subject = '', ours = '', theirs = '', runtimes = '', why = ''] = cells;
      const rest = { ours: bare(ours), theirs: bare(theirs), runtimes: runtimes.split(', '), why };
      return [...subject.matchAll(/`([^`]+)`/g)].map((match) => ({ subject: match[1]!, ...rest }));
    });
}

const bare = (cell: string): string => (cell === 'none' ? '' : cell.replace(/^`(.*)`$/, '$1'));

const fits = (known: string, value = ''): boolean => known === '*' || known === value;

/** A value that is not the documented one is not explained: it may be another fault at the same place. */
export function explain(
  differences: readonly Difference[],
  known: readonly KnownDifference[],
  runtime: string,
): Difference[] {
  return differences.map((difference) => {
    const found = known.find(
      ({ subject, ours, theirs, runtimes }) =>
        subject === difference.subject &&
        fits(ours, difference.ours) &&
        fits(theirs, difference.theirs) &&
        runtimes.includes(runtime),
    );
    return found ? { ...difference, explained: found.why } : difference;
  });
}
