/**
 * Forecasts one series (a group's rate, or a hot shard's) at any horizon.
 *
 * Every model's answers are kept until the truth arrives; a discounted pinball loss per model and horizon gives its
 * weight there. The mixture is taken on the asinh scale, where an outlier among the models is one vote and not a
 * mountain. Bands are quantiles of the mixture's own realised errors per horizon, in units of counting noise plus a
 * share of the level; the maximum over a window has bands of its own, for maxima are not quantiles of points.
 *
 * Invariants: bounded memory; no answer above {@link CLAMP_FACTOR} times the recent maximum; missing steps teach nothing.
 */
import {
  CLAMP_FACTOR,
  DRIFT_HALF_LIFE_STEPS,
  LEVEL_HALF_LIVES_STEPS,
  LOSS_HALF_LIFE_SCORES,
  NEWCOMER_FACTOR,
  NEWCOMER_SCORES,
  RELATIVE_ERROR_FLOOR,
  SCORED_HORIZONS,
  SCORES_PER_HORIZON,
  TODAY_HALF_LIVES_STEPS,
  TREND_HALF_LIVES_STEPS,
  WEIGHT_POWER,
} from './defaults.ts';
import { History, type HistoryState } from './history.ts';
import { DampedTrend } from './models/holt.ts';
import { Level } from './models/level.ts';
import type { Model } from './models/model.ts';
import {
  ProfileDrift,
  profileAt,
  SeasonalNaive,
  SeasonalProfile,
  TodayAgainstProfile,
} from './models/seasonal.ts';
import { NORMAL_QUANTILES, QuantileTracker } from './tracker.ts';

const LOSS_KEEP = 2 ** (-1 / LOSS_HALF_LIFE_SCORES);
/** Expected maximum of a few independent normals: where the trackers of maxima start. */
const MAX_START = [1.2, 2.2, 3] as const;

interface Pending {
  due: number;
  point: number;
  maxPoint: number;
  answers: Float64Array;
}

/** What is known of one scored horizon. */
class Scored {
  readonly horizon: number;
  readonly loss: Float64Array;
  readonly weight: Float64Array;
  readonly scores: Float64Array;
  mixLoss = 0;
  mixWeight = 0;
  readonly pending: Pending[] = [];
  readonly bands: QuantileTracker[];
  readonly maxima: QuantileTracker[];

  constructor(horizon: number, models: number) {
    this.horizon = horizon;
    this.loss = new Float64Array(models);
    this.weight = new Float64Array(models);
    this.scores = new Float64Array(models);
    this.bands = [0.9, 0.99].map((q, i) => new QuantileTracker(q, NORMAL_QUANTILES[i + 1]!));
    this.maxima = [0.5, 0.9, 0.99].map((q, i) => new QuantileTracker(q, MAX_START[i]!));
  }
}

export interface SeriesQuantiles {
  p50: number;
  p90: number;
  p99: number;
}

export class SeriesForecaster {
  readonly history = new History();
  readonly #models: Model[];
  readonly #naive = new SeasonalNaive();
  readonly #today: (TodayAgainstProfile | ProfileDrift)[];
  readonly #scored: Scored[];
  /** Models from outside (the shard's share of its group), one more answer each; set before every observe and predict. */
  readonly #externals: string[];
  #period = 0;
  #recentMax = 0;
  #scale = 1;
  readonly #answers: Float64Array;
  /** Answers since the last step: shards ask their group for the same few horizons. */
  readonly #said = new Map<number, SeriesQuantiles>();

  constructor(options: { externals?: string[] } = {}) {
    const today = TODAY_HALF_LIVES_STEPS.map((halfLife) => new TodayAgainstProfile(halfLife));
    const drift = new ProfileDrift(DRIFT_HALF_LIFE_STEPS);
    this.#today = [...today, drift];
    this.#models = [
      ...LEVEL_HALF_LIVES_STEPS.map((halfLife) => new Level(halfLife)),
      ...TREND_HALF_LIVES_STEPS.map((halfLife) => new DampedTrend(halfLife)),
      new SeasonalProfile(),
      this.#naive,
      ...this.#today,
    ];
    this.#externals = options.externals ?? [];
    const count = this.#models.length + this.#externals.length;
    this.#answers = new Float64Array(count);
    this.#scored = SCORED_HORIZONS.map((horizon) => new Scored(horizon, count));
  }

  /** Steps seen, missing ones included. */
  get length(): number {
    return this.history.length;
  }

  get period(): number {
    return this.#period;
  }

  /** The period in steps, found from all series together; 0: none. */
  set period(steps: number) {
    this.#period = steps;
    this.#naive.period = steps;
  }

  /**
   * The next step's value; NaN where it is missing. `external(model, ahead)` are outside models' answers as of now.
   */
  observe(value: number, external?: (model: number, ahead: number) => number): void {
    this.#settle(value);
    this.#said.clear();
    const seasonNow = this.#season(0);
    for (const model of this.#today) model.seasonNow = seasonNow;
    this.history.push(value);
    for (const model of this.#models) model.observe(value, this.history);
    if (!Number.isNaN(value)) {
      this.#recentMax = Math.max(value, this.#recentMax * 0.9995);
      this.#scale += 0.02 * (Math.max(value, 1e-6) - this.#scale);
    }
    const step = this.history.length;
    for (const scored of this.#scored) {
      const every = Math.max(1, Math.floor(scored.horizon / SCORES_PER_HORIZON));
      // No use in asking far beyond what has been seen: nothing there can be known yet.
      if (step % every !== 0 || scored.horizon > 2 * step) continue;
      const last = scored.pending[scored.pending.length - 1];
      const before = this.#maxPoint(scored.horizon, 0, external, last);
      const point = this.#answer(scored.horizon, external);
      scored.pending.push({
        due: step + scored.horizon,
        point,
        maxPoint: Math.max(point, before),
        answers: this.#answers.slice(),
      });
    }
  }

  /** Expected value and bands, `ahead` steps from the newest. */
  predict(ahead: number, external?: (model: number, ahead: number) => number): SeriesQuantiles {
    const said = external === undefined ? this.#said.get(ahead) : undefined;
    if (said !== undefined) return said;
    const point = this.#answer(ahead, external);
    const spread = spreadOf(point);
    const { bands } = this.#scoredFor(ahead);
    const p90 = this.#clamp(Math.max(point, point + bands[0]!.value * spread));
    const p99 = this.#clamp(Math.max(p90, point + bands[1]!.value * spread));
    const answer = { p50: point, p90, p99 };
    if (external === undefined) this.#said.set(ahead, answer);
    return answer;
  }

  /** Quantiles of the largest value from the next step to `ahead`. */
  predictMax(ahead: number, external?: (model: number, ahead: number) => number): SeriesQuantiles {
    const point = this.#answer(ahead, external);
    const peak = this.#maxPoint(ahead, point, external, undefined);
    const spread = spreadOf(peak);
    const { maxima } = this.#scoredFor(ahead);
    const p50 = this.#clamp(Math.max(0, peak + maxima[0]!.value * spread));
    const p90 = this.#clamp(Math.max(p50, peak + maxima[1]!.value * spread));
    return { p50, p90, p99: this.#clamp(Math.max(p90, peak + maxima[2]!.value * spread)) };
  }

  /** Weights of all models at a horizon, by name, and how often p90 held there. */
  explain(ahead: number): { weights: Record<string, number>; coverageP90: number } {
    this.#answer(ahead, undefined);
    const scored = this.#scoredFor(ahead);
    const weights: Record<string, number> = {};
    const raw = this.#weights(scored);
    const sum = raw.reduce((a, b) => a + b, 0);
    [...this.#models.map(({ name }) => name), ...this.#externals].forEach((name, i) => {
      weights[name] = sum > 0 ? raw[i]! / sum : 0;
    });
    return { weights, coverageP90: scored.bands[0]!.coverage() };
  }

  #season(ahead: number): number {
    // Asked before the newest value is pushed, `ahead` 0 is the coming value: one step ahead of the history.
    return this.#period > 0 && this.history.length > this.#period
      ? profileAt(this.history, this.#period, ahead === 0 ? 1 : ahead)
      : Number.NaN;
  }

  #clamp(value: number): number {
    return Math.max(0, Math.min(value, CLAMP_FACTOR * this.#recentMax));
  }

  /** Fills `#answers` and returns the mixture. */
  #answer(ahead: number, external: ((model: number, ahead: number) => number) | undefined): number {
    const season = this.#season(Math.max(1, ahead));
    for (let i = 0; i < this.#models.length; i++) {
      const answer = this.#models[i]!.predict(ahead, season, this.history);
      this.#answers[i] = Number.isFinite(answer) ? this.#clamp(answer) : Number.NaN;
    }
    for (let i = 0; i < this.#externals.length; i++) {
      const answer = external?.(i, ahead) ?? Number.NaN;
      this.#answers[this.#models.length + i] = Number.isFinite(answer) ? Math.max(0, answer) : Number.NaN;
    }
    const weights = this.#weights(this.#scoredFor(ahead));
    let sum = 0;
    let total = 0;
    for (let i = 0; i < weights.length; i++) {
      if (!(weights[i]! > 0)) continue;
      sum += weights[i]! * Math.asinh(this.#answers[i]!);
      total += weights[i]!;
    }
    return total > 0 ? this.#clamp(Math.sinh(sum / total)) : 0;
  }

  #weights(scored: Scored): number[] {
    const mix = scored.mixWeight > 0 ? scored.mixLoss / scored.mixWeight : Number.NaN;
    let least = Number.POSITIVE_INFINITY;
    const loss: number[] = [];
    for (let i = 0; i < this.#answers.length; i++) {
      let own = Number.NaN;
      if (!Number.isNaN(this.#answers[i]!)) {
        own =
          scored.scores[i]! >= NEWCOMER_SCORES
            ? scored.loss[i]! / scored.weight[i]!
            : Number.isNaN(mix)
              ? 1
              : mix * NEWCOMER_FACTOR;
        own = Math.max(own, 1e-9);
        least = Math.min(least, own);
      }
      loss.push(own);
    }
    return loss.map((own) => (Number.isNaN(own) ? 0 : (least / own) ** WEIGHT_POWER));
  }

  /** The scored horizon nearest on the log scale that has been scored; a shorter one before it has. */
  #scoredFor(ahead: number): Scored {
    let best = this.#scored[0]!;
    for (const scored of this.#scored) {
      if (scored.mixWeight === 0) break;
      if (Math.abs(Math.log(scored.horizon / ahead)) <= Math.abs(Math.log(best.horizon / ahead)))
        best = scored;
    }
    return best;
  }

  /** Largest expected value up to `ahead`, at the scored horizons and eighths of the window. */
  #maxPoint(
    ahead: number,
    end: number,
    external: ((model: number, ahead: number) => number) | undefined,
    reuse: Pending | undefined,
  ): number {
    let peak = end;
    // Between two scorings of a long window an eighth of it passes: the last peak still holds as a lower bound.
    if (reuse !== undefined && ahead > 64) return Math.max(peak, Math.min(reuse.maxPoint, this.#recentMax));
    const points = Math.min(6, ahead);
    for (let i = 1; i < points; i++)
      peak = Math.max(peak, this.#answer(Math.max(1, Math.round((ahead * i) / points)), external));
    return peak;
  }

  /** Scores what was said about the step that has now come. */
  #settle(value: number): void {
    const now = this.history.length + 1;
    for (const scored of this.#scored) {
      const pending = scored.pending[0];
      if (pending === undefined || pending.due > now) continue;
      scored.pending.shift();
      if (Number.isNaN(value)) continue;
      const scale = Math.max(this.#scale, 1e-6);
      for (let i = 0; i < pending.answers.length; i++) {
        const answer = pending.answers[i]!;
        if (Number.isNaN(answer)) continue;
        scored.loss[i] = LOSS_KEEP * scored.loss[i]! + (0.5 * Math.abs(value - answer)) / scale;
        scored.weight[i] = LOSS_KEEP * scored.weight[i]! + 1;
        scored.scores[i]!++;
      }
      scored.mixLoss = LOSS_KEEP * scored.mixLoss + (0.5 * Math.abs(value - pending.point)) / scale;
      scored.mixWeight = LOSS_KEEP * scored.mixWeight + 1;
      const residual = (value - pending.point) / spreadOf(pending.point);
      for (const band of scored.bands) band.add(residual);
      const before = scored.horizon > 1 ? this.history.maxOf(scored.horizon - 1) : value;
      const peak = Number.isNaN(before) ? value : Math.max(value, before);
      const peakResidual = (peak - pending.maxPoint) / spreadOf(pending.maxPoint);
      for (const band of scored.maxima) band.add(peakResidual);
    }
  }

  save(): SeriesState {
    return {
      history: this.history.save(),
      period: this.#period,
      recentMax: this.#recentMax,
      scale: this.#scale,
      models: this.#models.map((model) => model.save()),
      scored: this.#scored.map((s) => ({
        loss: [...s.loss],
        weight: [...s.weight],
        scores: [...s.scores],
        mix: [s.mixLoss, s.mixWeight],
        bands: s.bands.map((band) => band.save()),
        maxima: s.maxima.map((band) => band.save()),
      })),
    };
  }

  /** Pending answers are not kept: a restart costs their scores, nothing else. */
  load(state: SeriesState): void {
    this.history.load(state.history);
    this.period = state.period;
    this.#recentMax = state.recentMax;
    this.#scale = state.scale;
    state.models.forEach((model, i) => {
      this.#models[i]?.load(model.map((value) => value ?? Number.NaN));
    });
    state.scored.forEach((saved, i) => {
      const scored = this.#scored[i];
      if (scored === undefined) return;
      scored.loss.set(saved.loss.slice(0, scored.loss.length));
      scored.weight.set(saved.weight.slice(0, scored.weight.length));
      scored.scores.set(saved.scores.slice(0, scored.scores.length));
      [scored.mixLoss, scored.mixWeight] = saved.mix;
      saved.bands.forEach((band, j) => {
        scored.bands[j]?.load(band);
      });
      saved.maxima.forEach((band, j) => {
        scored.maxima[j]?.load(band);
      });
    });
  }
}

/** Unit of a residual: counting noise (a rate of counts varies as its root) beside a share of the level. */
function spreadOf(point: number): number {
  return Math.sqrt(point + 0.25 + (RELATIVE_ERROR_FLOOR * point) ** 2);
}

export interface SeriesState {
  history: HistoryState;
  period: number;
  recentMax: number;
  scale: number;
  models: (number | null)[][];
  scored: {
    loss: number[];
    weight: number[];
    scores: number[];
    mix: [number, number];
    bands: number[][];
    maxima: number[][];
  }[];
}
