/** Asks C compilers what they make of the kernel's headers: static assertions, never a program that runs. */
import { spawnSync } from 'node:child_process';

export interface Compiler {
  arch: 'x64' | 'arm64';
  command: string;
}

/** This machine's own, and Debian's cross compiler. One that is missing makes a test's reason to be skipped. */
export const compilers: readonly Compiler[] = [
  { arch: 'x64', command: process.arch === 'x64' ? 'cc' : 'x86_64-linux-gnu-gcc' },
  { arch: 'arm64', command: process.arch === 'arm64' ? 'cc' : 'aarch64-linux-gnu-gcc' },
];

export interface Verdict {
  /** Expressions whose value is another one, and whatever else the compiler had to complain about. */
  wrong: string[];
  /** Names that these headers don't have. */
  unknown: string[];
}

/** Holds C expressions against values. `preamble` is C: the includes. */
export function checkFacts(
  compiler: Compiler,
  preamble: string,
  facts: readonly (readonly [expression: string, value: number | bigint])[],
): Verdict {
  const lines = facts.map(([expression, value]) => {
    return `_Static_assert((unsigned long long)(${expression}) == (unsigned long long)${value}ll, "${expression}");`;
  });
  const { stderr, status, error } = spawnSync(compiler.command, ['-std=gnu11', '-fsyntax-only', '-x', 'c', '-'], {
    input: `${preamble}\n${lines.join('\n')}\n`,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
  });
  if (error) throw error;
  const verdict = readErrors(stderr);
  if (status !== 0 && verdict.wrong.length + verdict.unknown.length === 0) verdict.wrong.push(stderr);
  return verdict;
}

function readErrors(stderr: string): Verdict {
  const verdict: Verdict = { wrong: [], unknown: [] };
  for (const line of stderr.split('\n')) {
    if (!line.includes('error:') || line.includes('is not an integer')) continue;
    const failed = /static assertion failed: "(.*)"/.exec(line)?.[1];
    const unknown = /'(\w+)' undeclared/.exec(line)?.[1];
    if (unknown) verdict.unknown.push(unknown);
    else verdict.wrong.push(failed ?? line);
  }
  return verdict;
}
