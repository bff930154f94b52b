// Limits as the kernel keeps them: the same cases with tinyctr-oci, runc and crun, and docs/limits.md made of the results. Runs in the
// guest, where every cgroup v2 controller can be used. What `tinyctr` says of limits is in told.test.mjs.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { swapOn } from './disks.mjs';
import { cases } from './limit-cases.mjs';
import { page, rowsOf } from './limits-page.mjs';
import { CGROUPS, runtimes } from './runtimes.mjs';
import { checkout, line } from './support.mjs';

const results = new Map(cases.map(({ id }) => [id, {}]));
const published = rowsOf(readFileSync(`${checkout}/docs/limits.md`, 'utf8'));
/** With TINYCTR_WRITE_DOCS=1 the page is written anew, and not what is checked. */
const writing = process.env.TINYCTR_WRITE_DOCS === '1';

before(() => {
  for (const parent of ['cases', 'nested']) mkdirSync(`${CGROUPS}/${parent}`, { recursive: true });
  swapOn();
});

after(() => {
  if (writing)
    writeFileSync('/job/files/limits.md', page(runtimes, cases, results, line('/proc/sys/kernel/osrelease')));
});

for (const runtime of runtimes)
  describe(runtime.name, { skip: runtime.missing }, () => {
    for (const each of cases)
      test(each.title, async (context) => {
        const [verdict, measured] = await each.try(runtime);
        results.get(each.id)[runtime.name] = { verdict, measured };
        context.diagnostic(`${each.id}, ${runtime.name}: ${verdict}, ${measured}`);
        if (runtime.name === 'tinyctr-oci') assert.equal(verdict, 'kept', measured);
        if (writing) return;
        const shown = published.rows.get(each.title);
        assert.ok(shown, `docs/limits.md has no row "${each.title}": TINYCTR_WRITE_DOCS=1 test/vm/run.sh writes it`);
        const told = published.versions[runtime.name];
        if (runtime.name !== 'tinyctr-oci' && told !== runtime.version)
          context.diagnostic(
            `not compared: docs/limits.md is about ${runtime.name} ${told}, this is ${runtime.version}`,
          );
        else assert.equal(verdict, shown[runtime.name], `${measured}; docs/limits.md says otherwise`);
      });
  });

test('docs/limits.md has these cases and no other', { skip: writing && 'it is being written' }, () => {
  assert.deepEqual(
    [...published.rows.keys()],
    cases.map(({ title }) => title),
  );
});
