/**
 * Shards with models of their own. Test plan: tenants that have nothing in common but their service, each a rhythm and a
 * noise of its own, many more than a handful; what is said of each is held against what comes.
 */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../io/random.ts';
import type { LoadStep } from '../metrics/step.ts';
import { HOT_SHARDS_MAX } from './defaults.ts';
import { ForecastEngine } from './engine.ts';
import { HotShards } from './hot.ts';

const TENANTS = 60;
const STEP_S = 60;
const DAY_STEPS = 48;

/** Requests of a step: work for a third of the day, at an hour of its own; every other tenant is jumpy. */
function load(seed: string) {
  const random = new SeededRandom(seed);
  const tenants = Array.from({ length: TENANTS }, (_, i) => ({
    shard: `tenant/t${i}`,
    begins: Math.floor(random.next() * DAY_STEPS),
    noise: i % 2 === 0 ? 0.02 : 0.25,
  }));
  const requests = (i: number) => (number: number) => {
    const { begins, noise } = tenants[i]!;
    const busy = (number - begins + DAY_STEPS) % DAY_STEPS < DAY_STEPS / 3 ? 900 : 100;
    return busy * Math.max(0.1, 1 + noise * 2 * (random.next() - 0.5) * Math.sqrt(3));
  };
  return { tenants, requests };
}

function stepOf(number: number, shards: readonly { shard: string; requests: number }[]): LoadStep {
  return {
    number,
    atMs: number * STEP_S * 1000,
    stepS: STEP_S,
    missingShare: 0,
    shards: shards.map(({ shard, requests }) => ({
      shard,
      atMs: number * STEP_S * 1000,
      stepMs: STEP_S * 1000,
      commands: 0,
      queries: requests,
      rejected: 0,
      byOrigin: { here: { commands: 0, queries: requests } },
      cpuSeconds: requests * 0.001,
      stateBytes: 1000,
      bytesIn: requests,
      bytesOut: requests,
      writeBytes: 0,
      censored: false,
    })),
  };
}

describe('shards busy enough for models of their own', () => {
  const { tenants, requests } = load('hot-1');
  const engine = new ForecastEngine();
  const ids = tenants.map(({ shard }) => shard);
  let now: number[] = [];
  let said: number[][] = [];
  let [own, last, below, asked] = [0, 0, 0, 0];
  for (let number = 1; number <= 5 * DAY_STEPS; number++) {
    const before = now;
    now = tenants.map((_, i) => requests(i)(number));
    engine.observe(
      stepOf(
        number,
        tenants.map(({ shard }, i) => ({ shard, requests: now[i]! })),
      ),
    );
    if (number > 4 * DAY_STEPS)
      for (let i = 0; i < TENANTS; i++) {
        own += Math.abs(said[i]![0]! - now[i]!);
        last += Math.abs(before[i]! - now[i]!);
        below += now[i]! <= said[i]![1]! ? 1 : 0;
        asked++;
      }
    if (number >= 4 * DAY_STEPS)
      said = engine
        .forecast(ids, [STEP_S / 2])
        .map(({ metrics }) => metrics.requests.quantiles.map((q) => q[0]! * STEP_S));
  }

  it('are foreseen better than by their last value, all of them and not a few', () => {
    expect(own).toBeLessThan(0.75 * last);
  });

  it('have bands of their own: p90 holds, and is near the median where a shard is steady', () => {
    expect(below / asked).toBeGreaterThan(0.85);
    const width = (odd: number) => {
      let sum = 0;
      for (let i = odd; i < TENANTS; i += 2) sum += (said[i]![1]! - said[i]![0]!) / said[i]![0]!;
      return sum / (TENANTS / 2);
    };
    expect(width(1)).toBeGreaterThan(3 * width(0));
  });

  it('stay below their limit: a busier one takes the place of the least busy', () => {
    const hot = new HotShards(1, () => 0);
    for (let index = 0; index <= HOT_SHARDS_MAX; index++) hot.consider(index, 1000 + index / 10, 1);
    expect(hot.size).toBe(HOT_SHARDS_MAX);
    expect(hot.get(HOT_SHARDS_MAX)).toBeUndefined();
    hot.consider(HOT_SHARDS_MAX + 1, 9000, 2);
    expect(hot.size).toBe(HOT_SHARDS_MAX);
    expect(hot.get(HOT_SHARDS_MAX + 1)).toBeDefined();
    expect(hot.get(0)).toBeUndefined();
  });
});
