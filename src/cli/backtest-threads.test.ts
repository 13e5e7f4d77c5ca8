/** Test plan: an experiment on threads is the one on no thread, figure for figure; progress ends at all; a failure is the caller's. */
import { expect, it } from 'vitest';
import { clusterOf, DEFAULT_SCENARIO, experiment, parseScenario } from '../backtest/index.ts';
import { experimentOnThreads } from './backtest-threads.ts';

const scenario = parseScenario(
  {
    name: 'small',
    generator: 'synchronised',
    seeds: 2,
    shards: 20,
    tenants: 10,
    peakNodes: 3,
    days: 2,
    stepS: 1800,
    network: false,
    headrooms: [0.4, 0.7],
    policies: ['bestFixed', 'reactive', 'predictive', 'oracle'],
  },
  DEFAULT_SCENARIO,
);
const data = { scenario, model: clusterOf(scenario), series: undefined };

it('gives what one thread gives, however many there are', { timeout: 120_000 }, async () => {
  const steps = experiment(scenario, data.model);
  let next = steps.next();
  while (!next.done) next = steps.next();
  const shares: number[] = [];
  expect(await experimentOnThreads(data, 3, ({ share }) => shares.push(share))).toEqual(next.value);
  expect(shares.every((share) => share >= 0 && share <= 1.0001)).toBe(true);
  expect(Math.max(...shares)).toBeCloseTo(1, 6);
});

it('fails with its threads', { timeout: 120_000 }, async () => {
  const broken = { ...data, model: { ...data.model, topology: undefined as never } };
  await expect(experimentOnThreads(broken, 2, () => {})).rejects.toThrow(/undefined/);
});
