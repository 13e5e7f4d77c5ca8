/** What is foreseen for hours ahead, and that it keeps shards where their users are for long. */
import { describe, expect, it } from 'vitest';
import {
  horizonSeconds,
  horizonSteps,
  makeForecaster,
  measuredStep,
  regionHorizonSteps,
} from './forecasters.ts';
import { learn, replay } from './run.ts';
import { clusterOf, DEFAULT_SCENARIO } from './scenario.ts';
import type { Workload } from './workload.ts';

const model = clusterOf(DEFAULT_SCENARIO);

describe('horizons of regions', () => {
  it('are shares of a day beyond those of the lead', () => {
    expect(regionHorizonSteps(300, horizonSteps(300, 148))).toEqual([12, 24, 48]);
    expect(regionHorizonSteps(3600, [1, 2, 3])).toEqual([4]);
    expect(regionHorizonSteps(60, [1, 240])).toEqual([]);
  });

  it('call a shard back home, which gains for long what it does not in the time of a lead', () => {
    // Three fifths of the users are at home, but for four hours a day nearly all are abroad. 4 GB between the regions are 8 cents.
    const stepS = 300;
    const day = 86_400 / stepS;
    const workload: Workload = {
      stepS,
      steps: 3 * day,
      t0Ms: 0,
      shards: ['load/a.1', 'load/b.1'],
      regions: ['us-east-1', 'eu-west-1'],
      stateBytes: new Float64Array(2).fill(4e9),
      home: new Uint8Array(2),
      fill: (step, into) => {
        const abroad = step % day < day / 6 ? 0.95 : 0.4;
        for (let s = 0; s < 2; s++) {
          into[2 * s] = 20 * (1 - abroad);
          into[2 * s + 1] = 20 * abroad;
        }
      },
    };
    const steps = replay({
      policy: 'oracle',
      model,
      workload,
      headrooms: [0.5],
      fromStep: day / 2,
      scoreFromStep: day,
      toStep: workload.steps,
      halfLifeS: 60,
      network: false,
      learnt: learn(model, workload, 0, day),
    });
    let next = steps.next();
    while (!next.done) next = steps.next();
    const [result] = next.value;
    expect(result!.moves).toBeGreaterThanOrEqual(4);
    // 0.4 of 85 ms for twenty hours, 0.05 of it for four; stuck abroad it is 0.6 for twenty.
    expect(result!.latencyMs.mean).toBeLessThan(46);
  });
});

describe('the oracle', () => {
  it('knows the most of all together, which is less than the sum of what each has at most', () => {
    // Two shards that are busy by turns.
    const workload: Workload = {
      stepS: 300,
      steps: 40,
      t0Ms: 0,
      shards: ['load/a.1', 'load/b.1'],
      regions: ['us-east-1'],
      stateBytes: new Float64Array(2).fill(1e9),
      home: new Uint8Array(2),
      fill: (step, into) => {
        into[0] = step % 2 === 0 ? 100 : 10;
        into[1] = step % 2 === 0 ? 10 : 100;
      },
    };
    const horizons = [1, 3];
    const options = { halfLifeS: 60, network: false, horizons, near: 2 };
    const oracle = makeForecaster('oracle', model, workload, options);
    const rates = new Float64Array(2);
    workload.fill(4, rates);
    oracle.observe(measuredStep(model, workload, 4, rates));
    expect(oracle.total(horizonSeconds(300, horizons)).p50).toEqual([110, 110]);
    const [a, b] = oracle.forecast(workload.shards, horizonSeconds(300, horizons));
    expect([a, b].map((one) => one!.metrics.requests.quantiles[0][1])).toEqual([100, 100]);
  });
});
