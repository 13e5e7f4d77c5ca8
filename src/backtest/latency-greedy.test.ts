/** Each shard on the nearest node with room, whatever that costs. */
import { describe, expect, it } from 'vitest';
import { LatencyGreedy } from './latency-greedy.ts';
import type { PolicyId, RunResult } from './model.ts';
import { learn, replay } from './run.ts';
import { clusterOf, DEFAULT_SCENARIO } from './scenario.ts';
import type { Workload } from './workload.ts';
import { World } from './world.ts';

const model = clusterOf(DEFAULT_SCENARIO);
const STEP_S = 300;
const DAY = 86_400 / STEP_S;

/** Users of all shards are in America for half of each day and in Europe for the other. */
function followingTheSun(shards: number, requestsPerSecond: number): Workload {
  return {
    stepS: STEP_S,
    steps: 2 * DAY,
    t0Ms: 0,
    shards: Array.from({ length: shards }, (_, s) => `load/${s}`),
    regions: ['us-east-1', 'eu-west-1'],
    stateBytes: new Float64Array(shards).fill(1e8),
    home: new Uint8Array(shards),
    fill: (step, into) => {
      const here = step % DAY < DAY / 2 ? 0 : 1;
      for (let s = 0; s < shards; s++) {
        into[2 * s + here] = requestsPerSecond;
        into[2 * s + 1 - here] = 0;
      }
    },
  };
}

function replayed(policy: PolicyId, workload: Workload, headroom = 0.6): RunResult {
  const steps = replay({
    ...{ policy, model, workload, headrooms: [headroom] },
    ...{ halfLifeS: 60, network: false },
    ...{ fromStep: DAY / 2, scoreFromStep: DAY, toStep: workload.steps },
    learnt: learn(model, workload, 0, DAY),
  });
  let next = steps.next();
  while (!next.done) next = steps.next();
  return next.value[0]!;
}

describe('the latency-greedy policy', () => {
  it('takes shards to their users twice a day, where another that does not move leaves half of them far', () => {
    const workload = followingTheSun(8, 20);
    const greedy = replayed('latencyGreedy', workload);
    const still = replayed('static', workload);
    expect(greedy.moves).toBeGreaterThanOrEqual(8);
    expect(greedy.moves).toBeLessThanOrEqual(3 * 8);
    expect(greedy.pingPong).toBe(0);
    expect(greedy.latencyMs.mean).toBeLessThan(still.latencyMs.mean - 30);
  });

  it('buys nodes for what is wanted there, and gives back what no longer is', () => {
    // 8 shards of 0.1 core each: 1.5 nodes of 0.9 at 0.6, in one of two regions, one at least in the other.
    const { nodesMean } = replayed('latencyGreedy', followingTheSun(8, 20));
    expect(nodesMean).toBeGreaterThan(2.5);
    expect(nodesMean).toBeLessThan(3.7);
  });

  it('begins with what shards and standbys take, counted once, where the users are', () => {
    const workload = followingTheSun(24, 20);
    const world = new World({ ...model, standbys: 1 }, workload, 0);
    const rates = new Float64Array(48);
    workload.fill(DAY / 2, rates);
    world.setRates(rates);
    new LatencyGreedy(world, 0.6).begin({ rates });
    // 24 shards of 0.1 core and a tenth more for standbys, on nodes of 0.9 at 0.6: 4.9, and one that must be.
    expect(world.nodes.map(({ region }) => region)).toEqual([0, 1, 1, 1, 1, 1]);
  });

  it('does not fill nodes beyond the headroom to be near', () => {
    const { minutesOver, rejectedShare } = replayed('latencyGreedy', followingTheSun(40, 20), 0.5);
    expect(rejectedShare).toBeLessThan(0.01);
    expect(minutesOver).toBeLessThan(60);
  });
});

describe('the policy on the last value', () => {
  it('is the reactive one without smoothing', () => {
    const workload = followingTheSun(6, 15);
    const last = replayed('lastValue', workload);
    expect(last.moves).toBeGreaterThan(0);
    expect({ ...last, policy: 'reactive' }).toEqual(replayed('reactive', workload));
  });
});
