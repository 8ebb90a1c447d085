import type { Reporter, TestModule } from 'vitest/node';

/** Prints the run's totals as one plain line, `N passed, N failed, N skipped`, for tools that read only that. */
class TotalsReporter implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const testModule of testModules) {
      for (const test of testModule.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped++;
      }
      if (testModule.errors().length > 0) failed++;
    }
    process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  }
}

// Vitest loads reporters by their default export.
export { TotalsReporter as default };
