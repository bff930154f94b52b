// A vitest reporter for scripts/test.mjs: at the end, every skipped test with its reason and one line of counts. Where
// TINYCTR_TEST_RESULT names a file, scripts/test.mjs prints the counts, and what it needs to know goes into that file.
import { writeFileSync } from 'node:fs';

/** The line that .ci/run adds up. */
export const countsLine = ({ passed, failed, skipped }) =>
  `vitest: ${passed} passed, ${failed} failed, ${skipped} skipped`;

/** List it after the default reporter: its lines then come after vitest's own summary. */
export default class SkipsAndCounts {
  onInit(vitest) {
    this.filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, skipped: 0 };
    const skipped = [];
    /** File and name of what failed. A file or suite that failed outside its tests (an import, a hook) is one failure. */
    const failures = unhandledErrors.map((error) => ({ file: undefined, name: String(error.message) }));
    for (const module of modules) {
      const file = module.relativeModuleId;
      const fail = (name) => failures.push({ file, name });
      if (module.errors().length > 0) fail('(the file)');
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) fail(suite.fullName);
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'failed') fail(test.fullName);
        else counts[result.state === 'passed' ? 'passed' : 'skipped'] += 1;
        const reason = result.state === 'skipped' ? this.reasonOf(test, result) : undefined;
        if (reason !== undefined) skipped.push(`skipped: ${file} > ${test.fullName}: ${reason}`);
      }
    }
    for (const line of skipped) console.log(line);
    const result = process.env.TINYCTR_TEST_RESULT;
    if (result) writeFileSync(result, JSON.stringify({ ...counts, failures }));
    else console.log(countsLine({ ...counts, failed: failures.length }));
  }

  /** Undefined for a test that -t left out: nobody wants the list of those. */
  reasonOf(test, result) {
    const reason = result.note ?? test.meta().skipReason;
    return reason ?? (this.filtered ? undefined : 'no reason given');
  }
}
