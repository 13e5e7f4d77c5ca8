import { describe, expect, it } from 'vitest';
import { DemoLoad } from '../../test/scenarios/demo-load.ts';
import { SeededRandom } from '../io/random.ts';
import type { LoadStep } from '../metrics/step.ts';
import type { LoadSample } from '../model/load.ts';
import type { EngineState } from './engine-state.ts';
import {
  detectPeriods,
  engineForecaster,
  ForecastEngine,
  type Forecaster,
  lastValueForecaster,
  oracleForecaster,
  type PeriodSource,
} from './index.ts';
import { RowSeries, seriesBank } from './row-series.ts';
import { ForecastWatch } from './watch.ts';

/** Means of 1, 8 and 64 values, missing ones left out: what a source is, said plainly. */
function histories(count: number, length: number, value: (t: number, i: number) => number): PeriodSource[] {
  const ringSteps = [1, 8, 64];
  return Array.from({ length: count }, (_, i) => {
    const values = Array.from({ length }, (_, t) => value(t, i));
    return {
      ringSteps,
      recent: (ring, many) => {
        const width = ringSteps[ring]!;
        const means: number[] = [];
        for (let cell = 0; (cell + 1) * width <= length; cell++) {
          const known = values.slice(cell * width, (cell + 1) * width).filter((v) => !Number.isNaN(v));
          means.push(known.reduce((a, b) => a + b, 0) / known.length);
        }
        return Float64Array.from(means.slice(-many));
      },
    };
  });
}

function oneSeries(period = 0): RowSeries {
  const series = new RowSeries(seriesBank(1, { maxima: true }));
  series.period = period;
  return series;
}

const noise = (seed: string) => {
  const random = new SeededRandom(seed);
  return () => random.next() + random.next() + random.next() + random.next() - 2;
};

/** The sample with every number the same. */
function zeroed(sample: LoadSample, value: number): LoadSample {
  const byOrigin = Object.fromEntries(
    Object.keys(sample.byOrigin).map((origin) => [origin, { commands: value, queries: value }]),
  );
  const numbers = { commands: value, queries: value, cpuSeconds: value, stateBytes: value, bytesIn: value };
  return { ...sample, ...numbers, bytesOut: value, writeBytes: value, byOrigin };
}

describe('period detection', () => {
  it.each([30, 60, 47.5, 120])('finds a day of %d steps in origins with shifted phases', (period) => {
    const e = noise(`p${period}`);
    const found = detectPeriods(
      histories(3, 4 * 120, (t, i) => 100 + 80 * Math.sin((2 * Math.PI * (t + i * 11)) / period) + 10 * e()),
    );
    expect(Math.abs(found[0]! - period) / period).toBeLessThan(0.01);
  });

  it('finds a real day at ten-second steps', () => {
    const e = noise('day');
    const found = detectPeriods(
      histories(1, 3 * 8640, (t) => 100 + 80 * Math.sin((2 * Math.PI * t) / 8640) + 20 * e()),
    );
    expect(Math.abs(found[0]! - 8640) / 8640).toBeLessThan(0.02);
  });

  it('sees none in noise, in a constant or in growth', () => {
    const e = noise('none');
    expect(detectPeriods(histories(3, 400, () => 100 + 10 * e()))).toEqual([]);
    expect(detectPeriods(histories(1, 400, () => 5))).toEqual([]);
    expect(detectPeriods(histories(2, 400, (t) => 100 + t + 5 * e()))).toEqual([]);
  });

  it('is not led astray by flash crowds and gaps', () => {
    const e = noise('crowd');
    const found = detectPeriods(
      histories(3, 200, (t, i) =>
        t % 37 === 5
          ? Number.NaN
          : 100 +
            80 * Math.sin((2 * Math.PI * (t + i * 9)) / 40) +
            10 * e() +
            ([23, 24, 25, 90, 91, 171, 172, 173].includes(t) ? 500 : 0),
      ),
    );
    expect(Math.abs(found[0]! - 40)).toBeLessThan(1);
  });
});

describe('a single series', () => {
  it('follows a season better than the last value, once it has seen it', () => {
    const series = oneSeries(50);
    const truth = (t: number) => 100 + 90 * Math.sin((2 * Math.PI * t) / 50);
    const e = noise('season');
    let own = 0;
    let last = 0;
    for (let t = 0; t < 400; t++) {
      series.observe(truth(t) + 8 * e());
      if (t < 200) continue;
      own += Math.abs(series.predict(8).p50 - truth(t + 8));
      last += Math.abs(truth(t) - truth(t + 8));
    }
    expect(own).toBeLessThan(0.2 * last);
  });

  it('never explodes: not after spikes, ramps, gaps or zeros', () => {
    const inputs: ((t: number) => number)[] = [
      (t) => (t === 50 ? 1e9 : 1),
      (t) => 2 ** Math.min(40, t / 3),
      (t) => (t % 3 === 0 ? Number.NaN : t),
      () => 0,
      (t) => (t < 60 ? 1000 : 0),
    ];
    for (const input of inputs) {
      const series = oneSeries(20);
      let most = 0;
      for (let t = 0; t < 150; t++) {
        const value = input(t);
        series.observe(value);
        if (value > most) most = value;
        for (const ahead of [1, 7, 64, 1000]) {
          const { p50, p90, p99 } = series.predict(ahead);
          expect(p50).toBeGreaterThanOrEqual(0);
          expect(p90).toBeGreaterThanOrEqual(p50);
          expect(p99).toBeGreaterThanOrEqual(p90);
          expect(p99).toBeLessThanOrEqual(3 * most + 1e-9);
        }
      }
    }
  });

  it('keeps its promise: p90 holds about nine times in ten, and so does the p90 of the maximum', () => {
    const series = oneSeries();
    const e = noise('bands');
    const said: { p90: number; max90: number }[] = [];
    const values: number[] = [];
    for (let t = 0; t < 2500; t++) {
      values.push(Math.max(0, 50 + 20 * Math.sin(t / 40) + 12 * e()));
      series.observe(values[t]!);
      said.push({ p90: series.predict(4).p90, max90: series.predictMax(4).p90 });
    }
    let held = 0;
    let heldMax = 0;
    for (let t = 500; t < 2490; t++) {
      if (values[t + 4]! <= said[t]!.p90) held++;
      if (Math.max(...values.slice(t + 1, t + 5)) <= said[t]!.max90) heldMax++;
    }
    expect(held / 1990).toBeGreaterThan(0.85);
    expect(held / 1990).toBeLessThan(0.95);
    expect(heldMax / 1990).toBeGreaterThan(0.85);
    expect(heldMax / 1990).toBeLessThan(0.95);
  });

  it('goes on after a save as if nothing had happened', () => {
    const a = oneSeries(25);
    for (let t = 0; t < 120; t++) a.observe(10 + 5 * Math.sin(t / 4));
    const b = oneSeries();
    b.load(JSON.parse(JSON.stringify(a.save())));
    for (let t = 120; t < 160; t++) {
      expect(b.predict(9)).toEqual(a.predict(9));
      expect(b.predictMax(9)).toEqual(a.predictMax(9));
      a.observe(10 + 5 * Math.sin(t / 4));
      b.observe(10 + 5 * Math.sin(t / 4));
    }
    expect(() => new RowSeries(seriesBank(10)).load(a.save())).toThrow(RangeError);
  });

  it('is not deceived at half a period by horizons of whole periods, where the last value is as good', () => {
    const series = oneSeries(30);
    const truth = (t: number) => 100 + 90 * Math.sin((2 * Math.PI * t) / 30);
    const e = noise('whole');
    let own = 0;
    let last = 0;
    for (let t = 0; t < 300; t++) {
      series.observe(truth(t) + 8 * e());
      if (t < 150) continue;
      for (const ahead of [15, 16, 18, 20]) {
        own += Math.abs(series.predict(ahead).p50 - truth(t + ahead));
        last += Math.abs(truth(t) - truth(t + ahead));
      }
    }
    expect(own).toBeLessThan(0.15 * last);
  });

  it('believes a season soon after its period is known, however long it went without', () => {
    const series = oneSeries();
    const truth = (t: number) => 100 + 90 * Math.sin((2 * Math.PI * t) / 30);
    const e = noise('late');
    let own = 0;
    let last = 0;
    for (let t = 0; t < 298; t++) {
      series.observe(truth(t) + 8 * e());
      if (t === 250) series.period = 30;
      if (t < 278) continue;
      own += Math.abs(series.predict(12).p50 - truth(t + 12));
      last += Math.abs(truth(t) - truth(t + 12));
    }
    // Learnt at the pace of long-known experts it is .055.
    expect(own).toBeLessThan(0.03 * last);
  });

  it('gives seasonal naive where that was clearly better, says so, and stops when it is good again', () => {
    // Plan: the row is told nothing and says zero; a watch over it hears a naive that is right, then one that is wrong.
    const watch = new ForecastWatch();
    const say = () => ({ p50: 0, p90: 20 });
    let step = 0;
    const feed = (steps: number, naive: number) => {
      for (let i = 0; i < steps; i++) watch.observe(++step, 10, say, () => naive);
    };
    feed(45, 9);
    expect(watch.at(1).fallsBack).toBe(false);
    feed(45, 9);
    expect(watch.at(1)).toMatchObject({ ahead: 1, fallsBack: true });
    expect(watch.at(1).lossAgainstNaive).toBeCloseTo(10, 6);
    expect(watch.at(60).fallsBack).toBe(false);
    feed(400, 60);
    expect(watch.at(1).fallsBack).toBe(false);

    const series = oneSeries(30);
    for (let t = 0; t < 100; t++) series.observe(t % 30);
    const saved = series.save();
    saved.watch.fill(0);
    // Scores, held, own loss, naive's, given: at 8 steps, a hundred of them, naive ten times better.
    saved.watch.splice(5, 5, 100, 90, 100, 10, 1);
    series.load(saved);
    // 100 steps end at 9 in the third cycle; 8 steps later it is 17, and was 17 one period before.
    expect(series.predict(8).p50).toBeCloseTo(17, 1);
    expect(series.explain(8).weights).toEqual({ 'seasonal-naive': 1 });
    const { p50, p90, p99 } = series.predict(8);
    expect(p90).toBeGreaterThanOrEqual(p50);
    expect(p99).toBeGreaterThanOrEqual(p90);
    expect(series.explain(1).weights).not.toEqual({ 'seasonal-naive': 1 });
  });

  it('does not take a few large errors for evidence', () => {
    // Plan: the row is right but for each twentieth step, naive always off by one: twice its loss, by chance or not.
    const watch = new ForecastWatch();
    let step = 0;
    const truth = () => (step % 20 === 0 ? 50 : 10);
    for (let i = 0; i < 150; i++) {
      step++;
      watch.observe(
        step,
        truth(),
        () => ({ p50: 10, p90: 20 }),
        (ahead) => ((step + ahead) % 20 === 0 ? 49 : 9),
      );
    }
    expect(watch.at(1).lossAgainstNaive).toBeGreaterThan(1.15);
    expect(watch.fallenBack(60)).toEqual([]);
  });

  it('counts how often its bands held, and how it did against seasonal naive', () => {
    const series = oneSeries(40);
    const e = noise('watched');
    for (let t = 0; t < 600; t++) series.observe(100 + 50 * Math.sin((2 * Math.PI * t) / 40) + 10 * e());
    const { ahead, scores, coverageP90, lossAgainstNaive } = series.watched(8);
    expect(ahead).toBe(8);
    expect(scores).toBeGreaterThan(100);
    expect(coverageP90).toBeGreaterThan(0.8);
    // The naive's own noise adds to that of what came: an even bet is 1 / sqrt(2).
    expect(lossAgainstNaive).toBeLessThan(0.9);
    expect(oneSeries().watched(8)).toMatchObject({ scores: 0, coverageP90: 0.9, lossAgainstNaive: 1 });
  });
});

/** Mean absolute error per origin and per shard of a forecaster from `fromDay`, as shares of the truth. */
function errors(forecaster: Forecaster, load: DemoLoad, days: number, fromDay: number, aheadS: number) {
  let aggregate = 0;
  let shards = 0;
  let total = 0;
  const steps = Math.round((days * load.dayS) / load.stepS);
  for (let number = 1; number <= steps; number++) {
    forecaster.observe(load.step(number));
    if (number * load.stepS < fromDay * load.dayS || number % 5 !== 0) continue;
    const forecasts = forecaster.forecast(load.ids, [aheadS]);
    load.regions.forEach((region, origin) => {
      let sum = 0;
      forecasts.forEach((forecast, key) => {
        const by = forecast.byOrigin[region];
        const rate = (by?.commands[0] ?? 0) + (by?.queries[0] ?? 0);
        sum += rate;
        shards += Math.abs(rate - load.rate(key, origin, number * load.stepS + aheadS));
      });
      const truth = load.originRate(origin, number * load.stepS + aheadS);
      aggregate += Math.abs(sum - truth);
      total += truth;
    });
  }
  return { aggregate: aggregate / total, shards: shards / total };
}

describe('the engine on the demonstration’s load', () => {
  // Plan: several seeds; after three days the engine's aggregates are near the truth and far better than the last value's.
  // Over seeds q1 to q6: aggregates .05-.09 of the truth against .66-.68, single shards .17-.22 against .84-.87.
  const seeds = ['q1', 'q2', 'q3'];

  it('beats the last value and comes near the truth after three days, at any seed', () => {
    const own: number[] = [];
    for (const seed of seeds) {
      const make = () => new DemoLoad({ seed, keys: 600, dayS: 30, requestsPerSecond: 400 });
      const engine = new ForecastEngine();
      const result = errors(engine, make(), 6, 3, 3);
      const last = errors(lastValueForecaster({ halfLifeS: 2 }), make(), 6, 3, 3);
      expect(result.aggregate).toBeLessThan(0.6 * last.aggregate);
      expect(result.shards).toBeLessThan(0.6 * last.shards);
      expect(result.aggregate).toBeLessThan(0.16);
      expect(Math.abs(engine.periodsS[0]! - 30)).toBeLessThan(0.6);
      own.push(result.aggregate);
    }
    own.sort((a, b) => a - b);
    expect(own[Math.floor(own.length / 2)]).toBeLessThan(0.13);
  });

  it('is as near between two scored horizons as at them, for shards with rows of their own', () => {
    const load = new DemoLoad({ seed: 'between', keys: 24, dayS: 30, crowdsPerDay: 0 });
    const engine = new ForecastEngine();
    const off = [4, 6, 8, 10, 12].map((ahead) => ({ ahead, sum: 0 }));
    for (let number = 1; number <= 240; number++) {
      engine.observe(load.step(number));
      if (number < 120) continue;
      engine
        .forecast(
          load.ids,
          off.map(({ ahead }) => ahead - 0.5),
        )
        .forEach((forecast, key) => {
          off.forEach((at, h) => {
            let truth = 0;
            for (let origin = 0; origin < 3; origin++)
              truth += load.rate(key, origin, number + at.ahead - 0.5);
            at.sum += Math.abs(forecast.metrics.requests.quantiles[0][h]! - truth);
          });
        });
    }
    const atThem = Math.max(off[0]!.sum, off[4]!.sum);
    for (const { sum } of off.slice(1, 4)) expect(sum).toBeLessThan(1.15 * atThem);
  });

  it('sees a flash crowd on a cold shard within two steps and forgets it again', () => {
    const load = new DemoLoad({ seed: 'crowd', keys: 300, crowdsPerDay: 0 });
    const engine = new ForecastEngine();
    const cold = 'room/k250';
    const rate = () => engine.forecast([cold], [2])[0]!.metrics.requests.quantiles[0][0]!;
    const withCrowd = (number: number, extra: number): LoadStep => {
      const step = load.step(number);
      if (extra === 0) return step;
      const shards = step.shards.filter(({ shard }) => shard !== cold);
      const template = shards[0]!;
      shards.push({
        ...template,
        shard: cold,
        commands: 0,
        queries: extra,
        byOrigin: { 'eu-west-1': { commands: 0, queries: extra } },
      });
      return { ...step, shards };
    };
    let number = 1;
    for (; number <= 100; number++) engine.observe(withCrowd(number, 0));
    const before = rate();
    for (; number <= 102; number++) engine.observe(withCrowd(number, 30));
    expect(rate()).toBeGreaterThan(12);
    for (; number <= 112; number++) engine.observe(withCrowd(number, 30));
    expect(rate()).toBeGreaterThan(20);
    expect(rate()).toBeLessThan(45);
    for (; number <= 150; number++) engine.observe(withCrowd(number, 0));
    expect(rate()).toBeLessThan(before + 3);
  });

  it('learns nothing low from censored steps', () => {
    const load = new DemoLoad({ seed: 'censored', keys: 100, crowdsPerDay: 0, nightFloor: 1 });
    const plain = new ForecastEngine();
    for (let number = 1; number <= 60; number++) plain.observe(load.step(number));
    const before = plain.total([1]).p50[0]!;
    for (let number = 61; number <= 80; number++) {
      const step = load.step(number);
      for (const sample of step.shards) {
        sample.censored = true;
        for (const counts of Object.values(sample.byOrigin)) {
          counts.commands = Math.floor(counts.commands / 4);
          counts.queries = Math.floor(counts.queries / 4);
        }
      }
      plain.observe(step);
    }
    expect(plain.total([1]).p50[0]!).toBeGreaterThan(0.8 * before);
  });

  it('takes missing load as missing: neither a gap nor a silent node lowers the forecast', () => {
    const load = new DemoLoad({ seed: 'gap', keys: 100, crowdsPerDay: 0, nightFloor: 1 });
    const engine = new ForecastEngine();
    for (let number = 1; number <= 60; number++) engine.observe(load.step(number));
    const before = engine.total([1]).p50[0]!;
    for (let number = 70; number <= 80; number++) {
      const step = load.step(number);
      engine.observe({ ...step, shards: step.shards.filter((_, i) => i % 4 !== 0), missingShare: 0.25 });
    }
    expect(engine.total([1]).p50[0]! / before).toBeGreaterThan(0.75);
    expect(engine.total([1]).p50[0]! / before).toBeLessThan(1.25);
  });

  it('refuses the state of another forecaster, and any once it has observed', () => {
    expect(() => new ForecastEngine().load({ format: 'skein-forecast-1' })).toThrow(RangeError);
    const engine = new ForecastEngine();
    engine.observe(new DemoLoad({ seed: 'load', keys: 10 }).step(1));
    expect(() => engine.load(engine.save())).toThrow(RangeError);
  });

  it('learns nothing of numbers that are none, nor of steps that are none', () => {
    const load = new DemoLoad({ seed: 'load', keys: 10 });
    const [a, b] = [new ForecastEngine(), new ForecastEngine()];
    const step = (n: number) => load.step(n);
    for (let n = 1; n <= 20; n++) {
      const { shards, ...rest } = step(n);
      a.observe({ ...rest, shards: shards.map((sample, i) => (i === 0 ? zeroed(sample, 0) : sample)) });
      b.observe({
        ...rest,
        shards: shards.map((sample, i) => (i === 0 ? zeroed(sample, Number.NaN) : sample)),
      });
      b.observe({ ...rest, number: Number.NaN, shards });
    }
    expect(b.save()).toEqual(a.save());
    expect(() => b.observe({ ...step(21), stepS: 0 })).toThrow(RangeError);
  });

  it('refuses a state that was cut off or mixed, and takes one from before there were digests', () => {
    const load = new DemoLoad({ seed: 'load', keys: 10 });
    const engine = new ForecastEngine();
    for (let n = 1; n <= 20; n++) engine.observe(load.step(n));
    const { digest, ...state } = JSON.parse(JSON.stringify(engine.save())) as EngineState;
    const loading = (change: Partial<EngineState>) => () =>
      new ForecastEngine().load({ ...state, digest, ...change });
    expect(loading({})).not.toThrow();
    expect(loading({ digest: undefined })).not.toThrow();
    const { shares } = state;
    expect(loading({ shares: { ...shares, ids: shares.ids.slice(1) } })).toThrow(/damaged/);
    expect(loading({ lastNumber: 7 })).toThrow(/damaged/);
    // Without a digest what cannot be read is still told as such.
    expect(loading({ digest: undefined, shares: undefined as never })).toThrow(RangeError);
  });

  it('gives a shard nobody has seen its service’s mean, and splits it by its service’s origins', () => {
    const load = new DemoLoad({ seed: 'new', keys: 200, crowdsPerDay: 0 });
    const engine = new ForecastEngine();
    for (let number = 1; number <= 60; number++) engine.observe(load.step(number));
    const [fresh] = engine.forecast(['room/never-seen'], [2]);
    const mean = engine.total([2]).p50[0]! / 200;
    const rate = fresh!.metrics.requests.quantiles[0][0]!;
    expect(rate).toBeGreaterThan(0);
    expect(rate).toBeLessThan(mean);
    expect(Object.keys(fresh!.byOrigin).sort()).toEqual(['ap-northeast-1', 'eu-west-1', 'us-east-1']);
  });
});

// One suite, many implementations.
const source = {
  rates: () => ({ eu: { commands: 1, queries: 2 } }),
  cost: () => ({ cpuSeconds: 0.001, bytesIn: 1, bytesOut: 1, stateBytes: 10 }),
  totalRate: () => 3,
};
describe.each<[string, () => Forecaster]>([
  ['engine', () => engineForecaster()],
  ['last value', () => lastValueForecaster({ halfLifeS: 4 })],
  ['oracle', () => oracleForecaster(source)],
])('%s as a Forecaster', (_name, make) => {
  const load = () => new DemoLoad({ seed: 'suite', keys: 50, requestsPerSecond: 100 });
  const fed = (forecaster: Forecaster, steps: number) => {
    const l = load();
    for (let number = 1; number <= steps; number++) forecaster.observe(l.step(number));
    return forecaster;
  };

  it('answers for shards it never saw, before it saw any', () => {
    const [forecast] = make().forecast(['room/x'], [1, 10]);
    expect(forecast!.horizonsS).toEqual([1, 10]);
    for (const value of forecast!.metrics.requests.quantiles.flat()) expect(value).toBeGreaterThanOrEqual(0);
  });

  it('gives finite, ordered bands whose origins add up to the rate', () => {
    const forecaster = fed(make(), 70);
    for (const forecast of forecaster.forecast(load().ids, [1, 5, 30, 300])) {
      for (const metric of Object.values(forecast.metrics)) {
        const [p50, p90, p99] = metric.quantiles;
        p50.forEach((value, h) => {
          expect(Number.isFinite(p99[h])).toBe(true);
          expect(p90[h]).toBeGreaterThanOrEqual(value);
          expect(p99[h]).toBeGreaterThanOrEqual(p90[h]!);
        });
        expect(metric.max[1]).toBeGreaterThanOrEqual(metric.max[0]);
      }
      const sum = Object.values(forecast.byOrigin).reduce(
        (all, by) => all + by.commands[1]! + by.queries[1]!,
        0,
      );
      expect(sum).toBeCloseTo(forecast.metrics.requests.quantiles[0][1]!, 6);
    }
  });

  it('is deterministic, and a step seen again changes nothing', () => {
    const a = fed(make(), 40);
    const b = fed(make(), 40);
    b.observe(load().step(40));
    expect(b.forecast(load().ids, [2])).toEqual(a.forecast(load().ids, [2]));
  });

  it('is saved as JSON and goes on', () => {
    const a = fed(make(), 90);
    const b = make();
    b.load(JSON.parse(JSON.stringify(a.save())));
    const before = a.forecast(load().ids, [3]);
    b.forecast(load().ids, [3]).forEach((forecast, i) => {
      const rate = before[i]!.metrics.requests.quantiles[0][0]!;
      expect(Math.abs(forecast.metrics.requests.quantiles[0][0]! - rate)).toBeLessThan(0.05 * rate + 0.05);
    });
  });

  it('is saved before it saw anything and goes on from there', () => {
    const b = make();
    b.load(JSON.parse(JSON.stringify(make().save())));
    fed(b, 5);
    expect(b.total([1]).p50[0]).toBeGreaterThan(0);
  });
});
