/**
 * Test plan: run the product's own nodes, gateways, stores and controllers on virtual time under faults drawn from a
 * seed, and check what users saw: nothing acknowledged is lost, nothing happens twice, no two primaries answer, and
 * everything answers again once the faults end. Here each fault alone; all together in `seeds-1` and `seeds-2`.
 */
import { expect, it } from 'vitest';
import { FAULT_NAMES } from '../../src/sim/schedule.ts';
import { simulateTally } from '../../src/sim/simulate.ts';

it('is the same run for the same seed', { timeout: 120_000 }, async () => {
  const one = await simulateTally({ seed: 'again', faultsMs: 5_000 });
  const two = await simulateTally({ seed: 'again', faultsMs: 5_000 });
  expect({ events: two.events, trace: two.trace, acknowledged: two.acknowledged }).toEqual({
    events: one.events,
    trace: one.trace,
    acknowledged: one.acknowledged,
  });
});

it.each(FAULT_NAMES)('alone, again and again: %s', { timeout: 120_000 }, async (name) => {
  const report = await simulateTally({
    seed: `only ${name}`,
    faultNames: [name],
    faultEveryMs: 1_500,
    faultsMs: 10_000,
  });
  expect(report.violations).toEqual([]);
  expect(report.faults[name]).toBeGreaterThan(0);
  expect(report.acknowledged).toBeGreaterThan(40);
});

it.each([
  ['2077', 'a crash that waited for its moment came after the faults, and a new controller moved on'],
  [
    '3065',
    'a command sent straight to a node ran under the key it was given on the way, and again under another',
  ],
  [
    '3825',
    'a gateway that a reply had told of a move named the old cell beside the new version, and a takeover believed it',
  ],
])('seed %s: once %s', { timeout: 120_000 }, async (seed) => {
  expect((await simulateTally({ seed })).violations).toEqual([]);
});
