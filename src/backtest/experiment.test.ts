/** Small whole experiments: same seed, same figures; who must win where it is known who must. */
import { describe, expect, it } from 'vitest';
import { experiment, type Report } from './experiment.ts';
import { clusterOf, DEFAULT_SCENARIO, parseScenario, type Scenario, ScenarioError } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { type Part, SeedRun } from './seed-run.ts';

function ran(given: Partial<Scenario>): Report {
  const scenario = {
    ...DEFAULT_SCENARIO,
    seeds: 1,
    shards: 30,
    tenants: 15,
    peakNodes: 4,
    days: 3,
    stepS: 900,
    ...given,
  };
  const steps = experiment(scenario, clusterOf(scenario));
  for (;;) {
    const next = steps.next();
    if (next.done) return next.value;
    expect(next.value.share).toBeGreaterThanOrEqual(0);
    expect(next.value.share).toBeLessThanOrEqual(1.0001);
  }
}

describe('an experiment', { timeout: 120_000 }, () => {
  const given: Partial<Scenario> = {
    generator: 'synchronised',
    headrooms: [0.4, 0.6],
    policies: ['bestFixed', 'hpa', 'threshold', 'reactive', 'seasonalNaive', 'oracle'],
  };
  const report = ran(given);

  it('gives the same figures for the same seed', () => {
    expect(ran(given)).toEqual(report);
  });

  it('serves every request under every policy, and pays for it', () => {
    const runs = report.seeds[0]!.runs;
    const days = report.scoredDays;
    for (const run of runs) {
      expect(run.scoredS).toBeCloseTo(days * 86_400, 3);
      expect(run.usd.total).toBeCloseTo(run.usd.nodes + run.usd.egress + run.usd.moves, 9);
      // One node at least, all the time.
      expect(run.usd.nodes).toBeGreaterThanOrEqual(0.96 * (run.scoredS / 36_000) * 0.999);
      expect(run.usd.nodes).toBeCloseTo((0.096 * run.nodesMean * run.scoredS) / 3600, 6);
      expect(run.minutesOver).toBeLessThanOrEqual(run.scoredS / 60);
      expect(run.requestsOverShare).toBeLessThanOrEqual(1);
    }
  });

  it('says how far placement was from its bound in one round of twelve of the policies that have one', () => {
    for (const run of report.seeds[0]!.runs) {
      if (['bestFixed', 'hpa', 'threshold'].includes(run.policy)) {
        expect(run.certifiedGap).toBeUndefined();
        continue;
      }
      const { median, worst, rounds } = run.certifiedGap!;
      // A round at the end of each step that counts, more where nodes become ready.
      expect(rounds).toBeGreaterThanOrEqual(Math.floor(run.scoredS / report.stepS / 12) - 1);
      expect(median).toBeGreaterThanOrEqual(0);
      expect(worst).toBeGreaterThanOrEqual(median);
    }
  });

  it('runs the last value once where the smoothing that was tuned is that', () => {
    const scenario: Scenario = {
      ...DEFAULT_SCENARIO,
      ...{ generator: 'synchronised', shards: 20, tenants: 10, peakNodes: 3, days: 2, stepS: 1800 },
      ...{ headrooms: [0.5], policies: ['reactive', 'lastValue'] },
    };
    const run = new SeedRun(scenario, clusterOf(scenario), '1');
    const runsOf = (part: Part) => {
      const steps = run.run(part);
      for (;;) {
        const next = steps.next();
        if (next.done) return { part, runs: next.value };
      }
    };
    const [shortest] = run.tuning();
    const halfLifeS = shortest!.halfLifeS;
    const parts = run.scored(halfLifeS);
    expect(parts.map(({ policy }) => policy)).toEqual(['lastValue']);
    expect(run.scored(7 * halfLifeS).map(({ policy }) => policy)).toEqual(['reactive', 'lastValue']);
    const report = run.report([runsOf(shortest!)], parts.map(runsOf));
    expect(report.runs.map(({ policy }) => policy)).toEqual(['reactive', 'lastValue']);
    expect(report.runs[0]).toEqual(runsOf({ ...parts[0]!, policy: 'reactive' }).runs[0]);
  });

  it('shows what is to be gained where everybody starts at once', () => {
    const { minutes, available } = report.seeds[0]!;
    expect(available).toBeGreaterThan(0.5);
    expect(minutes.oracle!).toBeLessThan(0.5 * minutes.reactive!);
    // Yesterday tells when today begins.
    expect(minutes.seasonalNaive!).toBeLessThan(0.6 * minutes.reactive!);
  });

  it('finds nothing to gain where load is the same all day', () => {
    const steady = ran({
      generator: 'steady',
      policies: ['bestFixed', 'reactive', 'predictive', 'oracle'],
      headrooms: [0.5],
      fixedHeadrooms: [0.5],
      shards: 12,
      days: 2,
    });
    expect(steady.verdict.available!.mean).toBeLessThan(0.02);
    expect(steady.verdict.text[0]).toMatch(/^No gain/);
  });

  it('says that a load is too short instead of scoring it', () => {
    expect(() => ran({ generator: 'steady', days: 0.05 })).toThrow(/too few/);
  });
});

describe('scenarios', () => {
  it('are all valid, with an expectation, under distinct names', () => {
    for (const scenario of SCENARIOS) {
      expect(parseScenario(JSON.parse(JSON.stringify(scenario)))).toEqual(
        JSON.parse(JSON.stringify(scenario)),
      );
      expect(scenario.expected).not.toBe('');
      expect(scenario.expectedReduction).toBeDefined();
    }
    expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
  });

  it.each([
    [[], /^\$: expected an object/],
    [{ shard: 3 }, /^\$\.shard: there is no such parameter; there are .*shards/],
    [{ shards: 1.5 }, /^\$\.shards: expected a whole number from 1 to 100000, found 1\.5/],
    [{ cluster: { nodeStartS: -1 } }, /^\$\.cluster\.nodeStartS: expected a number from 0/],
    [{ policies: ['oracle', 'magic'] }, /^\$\.policies: expected a list of policies: hash/],
    [{ regions: ['mars-1'] }, /^\$\.regions: expected a list of regions: us-east-1/],
    [{ cluster: { nodesMinPerRegion: 9, nodesMaxPerRegion: 3 } }, /at most nodesMaxPerRegion \(3\), found 9/],
    [{ generator: 'constructor' }, /^\$\.generator: expected one of synchronised/],
  ])('refuses %j', (value, message) => {
    expect(() => parseScenario(value)).toThrow(ScenarioError);
    expect(() => parseScenario(value)).toThrow(message);
  });
});
