/**
 * The one error class for what a user typed wrongly, and the collector that lets all wrong options
 * of one command line be reported together.
 */

/** Bad input on the command line: one sentence per problem, each naming what was found and what is allowed. */
export class UsageError extends Error {
  readonly problems: readonly string[];

  constructor(problems: string | readonly string[]) {
    const list = typeof problems === 'string' ? [problems] : problems;
    super(list.join('\n'));
    this.name = 'UsageError';
    this.problems = list;
  }
}

/** Gathers the UsageErrors of many small parsers, so that nobody has to fix a command line one error at a time. */
export class Problems {
  readonly #found: string[] = [];

  add(problem: string): void {
    this.#found.push(problem);
  }

  /** What `parse` returns, or `otherwise` when it throws a UsageError, which is kept; other errors pass through. */
  attempt<T, U>(parse: () => T, otherwise: U): T | U {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      this.#found.push(...error.problems);
      return otherwise;
    }
  }

  /** `parse` applied to every item; items with a problem are left out of the result. */
  each<A, T>(items: readonly A[], parse: (item: A) => T): T[] {
    return items.flatMap((item) => this.attempt(() => [parse(item)], []));
  }

  /** @throws UsageError with every problem found, in the order in which they were found */
  throwIfAny(): void {
    if (this.#found.length > 0) throw new UsageError(this.#found);
  }
}
