/**
 * One series of the controller (a group's rate, a hot shard's, the total) as a row of a {@link SeriesBank}.
 *
 * Boundary: pure. Invariants: everything in steps, so a day may be 30 steps or 8,640; what was answered after a step is
 * answered again without work, since all shards of a group ask for the same horizons.
 */
import { type SavedRow, SeriesBank } from './bank/bank.ts';
import type { BatchExpert } from './batch-expert.ts';
import { Z90 } from './normal.ts';
import type { PeriodSource } from './period.ts';
import { rowExperts } from './row-experts.ts';
import { ForecastWatch, type Watched } from './watch.ts';

/** 2,048 values at 1, 8 and 64 steps: 131,072 steps are 15 days of 10 s steps. The controller has few rows. */
const HISTORY = { values: [2048, 2048, 2048], steps: [1, 8, 64] } as const;
/** Windows in steps whose maxima are learnt; others lie between them. */
const WINDOWS_STEPS = [1, 4, 16, 64, 256] as const;
/** Rows allocated at a time. */
const ROWS = 8;
const DAY_S = 86_400;
/** Two periods within this share of each other are the same. */
const SAME = 0.06;
/** Steps over which surges are counted: most come once a day or seldomer. */
const SURGE_MEMORY_STEPS = 3000;
/** What was counted before a period was found weighs as so many steps: with it much of that is foreseen. */
const SURGE_STEPS_BEFORE = 30;

export interface SeriesQuantiles {
  p50: number;
  p90: number;
  p99: number;
}

export interface RowSeriesState {
  row: SavedRow;
  period: number;
  watch: number[];
  /** Mean fourth power of surges, and steps; absent in what was saved before they were counted so. */
  surgesFourth?: [meanFourth: number, steps: number];
}

/** A bank for the controller's series. `maxima`: their maxima over windows are asked for. */
export function seriesBank(
  stepS: number,
  options: { externals?: readonly string[]; maxima?: boolean; experts?: readonly BatchExpert[] } = {},
): SeriesBank {
  const experts = options.experts ?? [];
  const bank = new SeriesBank({
    stepS,
    windows: options.maxima ? WINDOWS_STEPS : [],
    externals: options.externals,
    rows: ROWS,
    history: HISTORY,
    outside: experts.length,
  });
  if (experts.length > 0) bank.outside = rowExperts(bank, experts);
  return bank;
}

export class RowSeries implements PeriodSource {
  readonly row: number;
  readonly #bank: SeriesBank;
  readonly #watch = new ForecastWatch();
  #period = 0;
  /** What was foreseen of the step to come, whether it was given or not. */
  #foreseen: SeriesQuantiles | undefined;
  #surprise = Number.NaN;
  #surgeFourth = 0;
  #surgeSteps = 0;
  /** Answers since the last step. */
  readonly #said = new Map<number, SeriesQuantiles>();
  readonly #out = new Float64Array(3);
  readonly #ahead = new Float64Array(1);

  constructor(bank: SeriesBank) {
    this.#bank = bank;
    this.row = bank.add();
  }

  get ringSteps(): readonly number[] {
    return this.#bank.layout.ringSteps;
  }

  recent(ring: number, count: number): Float64Array {
    return this.#bank.recent(this.row, ring, count);
  }

  /** Steps seen, missing ones included. */
  get length(): number {
    return this.#bank.length(this.row);
  }

  get period(): number {
    return this.#period;
  }

  /** The period in steps that the data show; 0: none, then it is a day and a week. */
  set period(steps: number) {
    if (steps === this.#period) return;
    this.#period = steps;
    this.#surgeSteps = Math.min(this.#surgeSteps, SURGE_STEPS_BEFORE);
    this.#said.clear();
    const day = DAY_S / this.#bank.layout.stepS;
    const isDay = steps === 0 || Math.abs(steps - day) < SAME * day;
    this.#bank.setPeriods(this.row, steps > 0 ? steps : day, isDay ? 7 * day : day);
  }

  /** The next step's value; NaN where it is missing. */
  observe(value: number): void {
    this.#said.clear();
    this.#surprise = surpriseOf(value, this.#foreseen);
    this.#countSurge(value);
    this.#foreseen = undefined;
    this.#bank.observe(this.row, value);
    this.#watch.observe(this.length, value, this.#say, this.#naive);
  }

  /** How far the newest value came from what was foreseen a step before, in standard deviations; NaN where nothing was. */
  get surprise(): number {
    return this.#surprise;
  }

  /**
   * How far a step came above what was foreseen of it, over thousands of them: the fourth root of the mean fourth power, which follows how far surges go more than
   * how often they come. Of a load that sleeps it tells what its quantiles of the moment do not: how much it is when it wakes.
   */
  get surge(): number {
    return this.#surgeFourth ** 0.25;
  }

  #countSurge(value: number): void {
    if (this.#foreseen === undefined || !Number.isFinite(value)) return;
    const above = Math.max(0, value - this.#foreseen.p50);
    this.#surgeSteps = Math.min(SURGE_MEMORY_STEPS, this.#surgeSteps + 1);
    this.#surgeFourth += (above ** 4 - this.#surgeFourth) / this.#surgeSteps;
  }

  /** Quantiles `ahead` steps from the newest; fractions are fine. */
  predict(ahead: number): SeriesQuantiles {
    const said = this.#said.get(ahead);
    if (said !== undefined) return said;
    this.#ask(ahead);
    if (this.#watch.fallsBack(ahead)) this.#bank.aroundNaive(this.row, ahead, this.#out);
    const answer = this.#answer();
    this.#said.set(ahead, answer);
    return answer;
  }

  /** What the row says, whether it is given or not, to `#out`. */
  #ask(ahead: number): void {
    this.#ahead[0] = ahead;
    this.#bank.forecast(this.row, this.#ahead, this.#out);
  }

  #answer(): SeriesQuantiles {
    return { p50: this.#out[0]!, p90: this.#out[1]!, p99: this.#out[2]! };
  }

  /** Quantiles of the largest value from the next step to `ahead`. */
  predictMax(ahead: number): SeriesQuantiles {
    this.#bank.forecastMaxOver(this.row, ahead, this.#out);
    return this.#answer();
  }

  /** Weights of all experts at a horizon, by name, and how often p90 held there. */
  explain(ahead: number): { weights: Record<string, number>; coverageP90: number } {
    const { coverageP90, fallsBack } = this.watched(ahead);
    if (fallsBack) return { weights: { 'seasonal-naive': 1 }, coverageP90 };
    return { weights: this.#bank.weights(this.row, ahead), coverageP90 };
  }

  /** What was realised at the watched horizon next below. */
  watched(ahead: number): Watched {
    return this.#watch.at(ahead);
  }

  save(): RowSeriesState {
    return {
      row: this.#bank.saveRow(this.row),
      period: this.#period,
      watch: this.#watch.save(),
      surgesFourth: [this.#surgeFourth, this.#surgeSteps],
    };
  }

  /** @throws {RangeError} for a row of a bank of another layout */
  load(state: RowSeriesState): void {
    this.#bank.loadRow(this.row, state.row);
    this.#period = state.period;
    this.#watch.load(state.watch);
    [this.#surgeFourth, this.#surgeSteps] = state.surgesFourth ?? [0, 0];
    this.#said.clear();
  }

  /** Its row is another's from now on. */
  close(): void {
    this.#bank.remove(this.row);
  }

  readonly #say = (ahead: number): SeriesQuantiles => {
    this.#ask(ahead);
    const answer = this.#answer();
    if (ahead === 1) this.#foreseen = answer;
    return answer;
  };
  readonly #naive = (ahead: number): number => this.#bank.naive(this.row, ahead);
}

function surpriseOf(value: number, foreseen: SeriesQuantiles | undefined): number {
  if (foreseen === undefined) return Number.NaN;
  const deviation = (foreseen.p90 - foreseen.p50) / Z90;
  return deviation > 0 ? (value - foreseen.p50) / deviation : Number.NaN;
}
