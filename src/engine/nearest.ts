/** Finds what a mistyped word probably meant; used by error messages only. */

/** The number of single-letter insertions, removals and replacements between two words (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** At most three known words near `word` (two edits, or one contains the other), nearest first; case is ignored. */
export function nearMisses(word: string, known: readonly string[]): string[] {
  const wanted = word.toLowerCase();
  const isPart = (a: string, b: string) => b.length > 3 && a.includes(b);
  return known
    .map((name) => ({ name, distance: editDistance(wanted, name.toLowerCase()) }))
    .filter(({ name, distance }) => {
      const candidate = name.toLowerCase();
      return distance <= 2 || isPart(candidate, wanted) || isPart(wanted, candidate);
    })
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** `; did you mean A or B?`, or nothing when no known word is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearMisses(word, known);
  return near.length === 0 ? '' : `; did you mean ${near.join(' or ')}?`;
}
