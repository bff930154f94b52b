/** What is known of a container, as a list of facts that can be held against another's. Pure. */

export interface Fact {
  /** What it is about, for people and for counts: mounts, capabilities, system calls, … */
  group: string;
  /** Unique: "mount /proc: options". docs/differences.md names facts by this. */
  subject: string;
  value: string;
}

export interface Difference {
  group: string;
  subject: string;
  /** Undefined where that container has no such fact. */
  ours: string | undefined;
  theirs: string | undefined;
  /** Why, where docs/differences.md knows it. */
  explained?: string;
}

export interface Comparison {
  differences: Difference[];
  /** How many facts are the same, by group. */
  equal: Record<string, number>;
}

/** In the order of ours, then what only the other has. */
export function compareFacts(ours: readonly Fact[], theirs: readonly Fact[]): Comparison {
  const other = new Map(theirs.map((fact) => [fact.subject, fact]));
  const differences: Difference[] = [];
  const equal: Record<string, number> = {};
  for (const { group, subject, value } of ours) {
    const found = other.get(subject)?.value;
    other.delete(subject);
    if (found === value) equal[group] = (equal[group] ?? 0) + 1;
    else differences.push({ group, subject, ours: value, theirs: found });
  }
  for (const { group, subject, value } of other.values())
    differences.push({ group, subject, ours: undefined, theirs: value });
  return { differences, equal };
}
