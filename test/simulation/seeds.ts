/**
 * One seed of the simulated world as a test: run it, and where a rule is broken, make the failure small and print the
 * command that repeats it, with a trace.
 */
import { expect } from 'vitest';
import { shrinkTally } from '../../src/sim/shrink.ts';
import { simulateTally } from '../../src/sim/simulate.ts';

// Most errors of a run are expected and read by nobody: their stacks cost more than all else about them.
Error.stackTraceLimit = 0;

/** How many seeds every run of the tests takes. */
export const SEEDS = 300;

export async function runSeed(seed: number): Promise<void> {
  const report = await simulateTally({ seed });
  if (report.violations.length > 0) {
    const small = await shrinkTally({ seed }, report);
    const said = small.report.violations.map(({ rule, text }) => `${rule}: ${text}`);
    expect.fail([...said, small.command, ...small.report.trace.slice(-80)].join('\n'));
  }
  // A run in which nothing happens proves nothing.
  expect(report.acknowledged, `seed ${seed}`).toBeGreaterThan(300);
}
