// A vitest reporter for scripts/test.mjs: at the end, every skipped test with its reason and one line of counts.

/** List it after the default reporter: its lines then come after vitest's own summary. */
export default class SkipsAndCounts {
  onInit(vitest) {
    this.filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    const skipped = [];
    for (const module of modules) {
      // A file or suite that failed outside its tests (an import, a hook) counts as one failure.
      if (module.errors().length > 0) counts.failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) counts.failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        counts[result.state === 'passed' || result.state === 'failed' ? result.state : 'skipped'] += 1;
        const reason = result.state === 'skipped' ? this.reasonOf(test, result) : undefined;
        if (reason !== undefined) skipped.push(`skipped: ${module.relativeModuleId} > ${test.fullName}: ${reason}`);
      }
    }
    for (const line of skipped) console.log(line);
    console.log(`vitest: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  }

  /** Undefined for a test that -t left out: nobody wants the list of those. */
  reasonOf(test, result) {
    const reason = result.note ?? test.meta().skipReason;
    return reason ?? (this.filtered ? undefined : 'no reason given');
  }
}
