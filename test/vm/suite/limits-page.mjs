// docs/limits.md, made of what a run found, and read back: a row has a case, what was asked, and a cell for each runtime,
// "verdict: measured". Numbers that differ from run to run are not in it, so that it changes only when something changes.

const INTRO = (kernel, runtimes) => `# Limits, kept and not

The same cases with tinyctr-oci and other runtimes, in one boot of a virtual machine with every cgroup v2 controller (Linux ${kernel.split('-')[0].replace(/\.\d+$/, '')}). This page is written by
that run: \`TINYCTR_WRITE_DOCS=1 test/vm/run.sh test/vm/suite/limits.test.mjs\` (any other run checks that its rows and verdicts still hold).
Every case reads the kernel's files or its effects, none trusts what a runtime says of itself; they are in [test/vm/suite/limit-cases.mjs](../test/vm/suite/limit-cases.mjs).

Versions: ${runtimes.map(({ name, version }) => `${name} ${version}`).join(', ')}.
`;

const cell = (result) =>
  result
    ? `${result.verdict}${result.measured ? `: ${result.measured.trim().replace(/\s+/g, ' ').replaceAll('|', '/').slice(0, 100)}` : ''}`
    : 'not run';

/** The whole page. `results` has for each case's id an object { runtime: { verdict, measured } }. */
export function page(runtimes, cases, results, kernel) {
  const rows = cases.map(({ id, title, asked }) => [
    title,
    asked,
    ...runtimes.map(({ name }) => cell(results.get(id)[name])),
  ]);
  const table = [['case', 'asked for', ...runtimes.map(({ name }) => name)], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`);
  lines.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`);
  return `${INTRO(kernel, runtimes)}\n${lines.join('\n')}\n${OUTRO}`;
}

const OUTRO = `
_kept_ is what the OCI runtime specification asks for. Shares have two formulas: that of runc since 1.3.2 and crun since 1.23 takes 1024 to the kernel's default of 100, the older one to 39.

_linux.resources.rdma_ is tried in a boot of another kernel, which has an RDMA device in software (test/vm/rdma): tinyctr-oci and runc keep it, crun 1.8.1 ignores it.
`;

/** { versions: { name: version }, rows: title -> { name: verdict } } of a page. */
export function rowsOf(text) {
  const versions = Object.fromEntries(
    (/^Versions: (.*)\.$/m.exec(text)?.[1] ?? '').split(', ').map((each) => each.split(' ')),
  );
  const table = text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((c) => c.trim()),
    );
  const [head = [], , ...rows] = table;
  const verdicts = (cells) => Object.fromEntries(cells.map((c, i) => [head[i + 2], c.split(':')[0]]));
  return { versions, rows: new Map(rows.map(([title, , ...cells]) => [title, verdicts(cells)])) };
}
