/**
 * Test plan: run the product's own nodes, gateways, stores and controllers on virtual time under faults drawn from a
 * seed, and check what users saw: nothing acknowledged is lost, nothing happens twice, no two primaries answer, and
 * everything answers again once the faults end. A failing seed prints the command that runs it again.
 */
import { expect, it } from 'vitest';
import { simulate } from '../../src/sim/simulate.ts';

const only = process.env.SKEIN_SEED;
const count = Number(process.env.SKEIN_SEEDS ?? 20);
const seeds = only ? [only] : Array.from({ length: count }, (_, i) => String(i + 1));

it.each(seeds)('seed %s', { timeout: 120_000 }, async (seed) => {
  const verbose = process.env.SKEIN_TRACE === '1';
  const report = await simulate({
    seed,
    onLog: verbose
      ? (process, level, fields, message) => console.log(process, level, message, fields)
      : undefined,
  });
  const again = `SKEIN_SEED=${seed} SKEIN_TRACE=1 npx vitest run test/simulation`;
  const tail = verbose ? report.trace.join('\n') : '';
  expect(
    report.violations.map(({ rule, text }) => `${rule}: ${text}`),
    `${again}\n${tail}`,
  ).toEqual([]);
  // A run in which nothing happens proves nothing.
  expect(report.acknowledged, again).toBeGreaterThan(500);
  expect(report.migrations.completed, again).toBeGreaterThan(0);
});

it('is the same run for the same seed', { timeout: 120_000 }, async () => {
  const one = await simulate({ seed: 'again', faultsMs: 5_000 });
  const two = await simulate({ seed: 'again', faultsMs: 5_000 });
  expect({ events: two.events, trace: two.trace, acknowledged: two.acknowledged }).toEqual({
    events: one.events,
    trace: one.trace,
    acknowledged: one.acknowledged,
  });
});
