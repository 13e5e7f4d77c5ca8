/**
 * The reactive policy's forecaster: what was is what will be. Exponentially smoothed rates of every shard and origin, flat
 * over all horizons; nothing is foreseen. Same planner, same headroom: the policies differ here alone.
 */
import type { LoadStep } from '../metrics/step.ts';
import type { Region, ShardId } from '../model/ids.ts';
import type { ForecastExplanation, ShardForecast } from '../model/loop.ts';
import { flatForecast, type OriginRates } from './flat.ts';
import type { Forecaster } from './forecaster.ts';
import { RequestMeansTable } from './means.ts';

/** Shards kept. */
const SHARDS_MAX = 200_000;
const FORMAT = 'skein-last-value-1';

interface Row {
  index: number;
  /** Decayed counts by origin. */
  counts: Map<Region, number>;
  step: number;
}

/**
 * @param options.halfLifeS seconds after which a request weighs half
 * @example
 * const reactive = lastValueForecaster({ halfLifeS: 5 });
 */
export function lastValueForecaster(options: { halfLifeS: number }): Forecaster {
  return new LastValueForecaster(options.halfLifeS);
}

class LastValueForecaster implements Forecaster {
  readonly #halfLifeS: number;
  readonly #rows = new Map<ShardId, Row>();
  readonly #means = new RequestMeansTable();
  #step = 0;
  #last: number | undefined;
  #stepS = 1;
  /** Decayed count of steps: rates are counts over it, so a young forecaster is not low. */
  #time = 0;
  #total = 0;

  constructor(halfLifeS: number) {
    if (!(halfLifeS > 0)) throw new RangeError('halfLifeS must be above zero');
    this.#halfLifeS = halfLifeS;
  }

  observe(step: LoadStep): void {
    if (this.#last !== undefined && step.number <= this.#last) return;
    this.#last = step.number;
    this.#stepS = step.stepS;
    if (step.missingShare > 0.5) return;
    this.#step++;
    const keep = this.#keep(1);
    this.#time = this.#time * keep + step.stepS;
    this.#total *= keep;
    for (const sample of step.shards) {
      const row = this.#row(sample.shard);
      this.#fade(row);
      for (const [origin, { commands, queries }] of Object.entries(sample.byOrigin)) {
        row.counts.set(origin, (row.counts.get(origin) ?? 0) + commands + queries);
        this.#total += commands + queries;
      }
      this.#means.observe(row.index, 0, sample);
    }
  }

  forecast(shards: readonly ShardId[], horizonsS: readonly number[]): ShardForecast[] {
    return shards.map((shard) => {
      const row = this.#rows.get(shard);
      const rates: OriginRates = {};
      if (row !== undefined) {
        this.#fade(row);
        const means = this.#means.of(row.index, 0);
        for (const [origin, count] of row.counts) {
          const rate = this.#time > 0 ? count / this.#time : 0;
          rates[origin] = {
            commands: horizonsS.map(() => rate * means.commandShare),
            queries: horizonsS.map(() => rate * (1 - means.commandShare)),
          };
        }
      }
      const index = row?.index ?? -1;
      return flatForecast(shard, horizonsS, rates, {
        ...(index >= 0 ? this.#means.of(index, 0) : NO_MEANS),
        stateBytes: index >= 0 ? this.#means.stateBytes(index) : 0,
        windowS: this.#stepS,
      });
    });
  }

  total(horizonsS: readonly number[]): { p50: number[]; p90: number[]; p99: number[] } {
    const rate = this.#time > 0 ? this.#total / this.#time : 0;
    const spread = Math.sqrt(rate / this.#stepS);
    return {
      p50: horizonsS.map(() => rate),
      p90: horizonsS.map(() => rate + 1.28 * spread),
      p99: horizonsS.map(() => rate + 2.33 * spread),
    };
  }

  explain(): ForecastExplanation {
    return { periodsS: [], weights: { [`level-${this.#halfLifeS}s`]: 1 }, coverageP90: Number.NaN };
  }

  #keep(steps: number): number {
    return 2 ** ((-steps * this.#stepS) / this.#halfLifeS);
  }

  #row(shard: ShardId): Row {
    let row = this.#rows.get(shard);
    if (row === undefined) {
      let index = this.#rows.size;
      if (index >= SHARDS_MAX) {
        const oldest = this.#rows.entries().next().value!;
        this.#rows.delete(oldest[0]);
        index = oldest[1].index;
        this.#means.clear(index);
      }
      row = { index, counts: new Map(), step: this.#step };
      this.#rows.set(shard, row);
    }
    return row;
  }

  #fade(row: Row): void {
    const gap = this.#step - row.step;
    if (gap <= 0) return;
    const keep = this.#keep(gap);
    for (const [origin, count] of row.counts) row.counts.set(origin, count * keep);
    row.step = this.#step;
  }

  save(): unknown {
    return {
      format: FORMAT,
      step: this.#step,
      last: this.#last,
      stepS: this.#stepS,
      time: this.#time,
      total: this.#total,
      rows: [...this.#rows].map(([shard, row]) => ({ ...row, shard, counts: [...row.counts] })),
      means: this.#means.save(),
    };
  }

  load(saved: unknown): void {
    const state = saved as {
      format: string;
      step: number;
      last?: number;
      stepS: number;
      time: number;
      total: number;
      rows: { shard: ShardId; index: number; step: number; counts: [Region, number][] }[];
      means: { rows: number[]; services: number[] };
    };
    if (state?.format !== FORMAT) throw new RangeError(`not a saved forecaster (wanted ${FORMAT})`);
    this.#step = state.step;
    this.#last = state.last;
    this.#stepS = state.stepS;
    this.#time = state.time;
    this.#total = state.total;
    for (const { shard, index, step, counts } of state.rows)
      this.#rows.set(shard, { index, step, counts: new Map(counts) });
    this.#means.load(state.means);
  }
}

const NO_MEANS = { cpuSeconds: 0, bytesIn: 0, bytesOut: 0, writeBytes: 0, commandShare: 0 };
