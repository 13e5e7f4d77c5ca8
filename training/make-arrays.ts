/**
 * Makes the arrays that `train.py` learns from: draws series, origins and horizons, and writes what the network would
 * be told (by the very code of `src/forecast/network/features.ts`) and what came.
 *
 *   node --conditions=skein-source training/make-arrays.ts --traces FOLDER --out FOLDER [--tasks 1000000] [--seed 1]
 *
 * Writes `train`, `held-out` and, for sets that only evaluate, `evaluate` as raw little-endian float32, and `layout.json`.
 * Depends on its arguments and the data alone.
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FeatureWriter } from '../src/forecast/network/features.ts';
import * as layout from '../src/forecast/network/layout.ts';
import { strongestPeriod } from '../src/forecast/period.ts';
import { hashOf, Random } from './random.ts';
import { calendarPeriods, isHeldOut, type RealSeries, readSet, varied } from './real.ts';
import { type MadeSeries, makeSynthetic } from './synthetic.ts';

const { values: options } = parseArgs({
  options: {
    traces: { type: 'string' },
    out: { type: 'string' },
    tasks: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
  },
});
if (options.traces === undefined || options.out === undefined)
  throw new Error('name the folder of the series with --traces and the one to write to with --out');
const out = options.out;

/** Horizons drawn for each task. */
const HORIZONS = 6;
/** Tasks drawn from one made series. */
const TASKS_PER_SERIES = 12;
const HORIZON_STEPS_MAX = 1024;
const SERIES_TO_HOLD_OUT = 10;
/** Steps whose standard deviation scales the loss. */
const DEVIATION_STEPS_MAX = 4096;
/** What came, clipped at this many standard deviations from the centre: one outlier must not be the whole gradient. */
const TARGET_DEVIATIONS_MAX = 40;
/** Numbers of a target: z of the value, z of the maximum up to it, scale over standard deviation, then baselines. */
const TARGETS = 9;

interface DataSet {
  name: string;
  file: string;
  trains: boolean;
  /** Share of the tasks, for sets that train. */
  share: number;
}
const list = JSON.parse(readFileSync(new URL('data.json', import.meta.url), 'utf8')) as {
  syntheticShare: number;
  sets: DataSet[];
};

class ArraySet {
  readonly #files: number[];
  readonly #context = new Float32Array(layout.CONTEXT_WIDTH);
  readonly #features = new Float32Array(HORIZONS * layout.HORIZON_WIDTH);
  readonly #seen = new Float32Array(HORIZONS * layout.HORIZON_FEATURES);
  readonly #targets = new Float32Array(HORIZONS * TARGETS + 2);
  readonly #writer = new FeatureWriter();
  tasks = 0;

  constructor(name: string) {
    this.#files = ['context', 'horizon', 'target'].map((part) =>
      openSync(join(out, `${name}.${part}.f32`), 'w'),
    );
  }

  /** Writes one task; false where nothing can be asked there. */
  add(
    series: MadeSeries,
    begin: number,
    origin: number,
    horizons: number[],
    group: number,
    coarse: boolean,
  ): boolean {
    const { values } = series;
    const length = origin - begin;
    const exact = (age: number) => (age < length ? values[origin - 1 - age]! : Number.NaN);
    const at = coarse
      ? (age: number) => (age < length ? remembered(values, begin, origin, age) : Number.NaN)
      : exact;
    const context = this.#context;
    const level = this.#writer.write(
      { at, length, periods: series.periods },
      horizons,
      context,
      0,
      this.#features,
      0,
    );
    const scale = context[layout.CONTEXT_FEATURES + 1]! * level;
    if (!(scale > 0)) return false;
    const centre = context[layout.CONTEXT_FEATURES]! * level;
    const deviation = Math.max(deviationOf(values, begin, origin), 0.05 * scale);
    const most = (TARGET_DEVIATIONS_MAX * deviation) / scale;
    const z = (value: number) => Math.max(-most, Math.min(most, (value - centre) / scale));
    let largest = Number.NEGATIVE_INFINITY;
    let step = 0;
    for (let h = 0; h < HORIZONS; h++) {
      const ahead = horizons[h]!;
      for (; step < ahead; step++) {
        const value = values[origin + step]!;
        if (value > largest) largest = value;
      }
      const value = values[origin + ahead - 1]!;
      if (!Number.isFinite(value)) return false;
      const t = h * TARGETS;
      this.#targets[t] = z(value);
      this.#targets[t + 1] = z(largest);
      this.#targets[t + 2] = scale / deviation;
      const raw = h * layout.HORIZON_WIDTH + layout.HORIZON_FEATURES;
      this.#baselines(
        at,
        length,
        series.periods[0] ?? 0,
        ahead,
        this.#features[raw + 7]!,
        this.#features[raw + 2]!,
        scale,
        t + 3,
      );
      for (let i = 0; i < layout.HORIZON_FEATURES; i++)
        this.#seen[h * layout.HORIZON_FEATURES + i] = this.#features[h * layout.HORIZON_WIDTH + i]!;
    }
    this.#targets[HORIZONS * TARGETS] = group;
    this.#targets[HORIZONS * TARGETS + 1] = length;
    [context.subarray(0, layout.CONTEXT_FEATURES), this.#seen, this.#targets].forEach((row, i) => {
      this.#chunks[i]!.push(row.slice());
    });
    this.tasks++;
    if (this.#chunks[0]!.length >= 4096) this.#flush();
    return true;
  }
  readonly #chunks: Float32Array[][] = [[], [], []];

  /** Quantiles of seasonal naive and of an exponential level with the errors each made in the context, in z. */
  #baselines(
    at: (age: number) => number,
    length: number,
    period: number,
    ahead: number,
    naive: number,
    level: number,
    scale: number,
    t: number,
  ): void {
    const lag = period >= 2 && Math.round(period) < length ? Math.round(period) : 1;
    const base = lag > 1 ? naive : at(0) - at(0) === 0 ? this.#features[layout.HORIZON_FEATURES]! : level;
    const errors: number[] = [];
    for (let age = 0; age < Math.min(512, length - lag); age++) {
      const error = (at(age) - at(age + lag)) / scale;
      if (Number.isFinite(error)) errors.push(error);
    }
    errors.sort((a, b) => a - b);
    const growth = lag > 1 ? 1 : Math.sqrt(Math.min(ahead, 64));
    [0.5, 0.9, 0.99].forEach((q, i) => {
      const error = errors[Math.min(errors.length - 1, Math.floor(q * errors.length))] ?? 0;
      this.#targets[t + i] = base + (q === 0.5 ? 0 : error * growth);
    });
    let keep = at(length - 1);
    const misses: number[] = [];
    for (let age = Math.min(256, length) - 1; age >= 0; age--) {
      const value = at(age);
      if (!Number.isFinite(value)) continue;
      if (!Number.isFinite(keep)) keep = value;
      misses.push((value - keep) / scale);
      keep += 0.15 * (value - keep);
    }
    misses.sort((a, b) => a - b);
    const wider = Math.sqrt(1 + 0.0225 * Math.min(ahead, 256));
    [0.5, 0.9, 0.99].forEach((q, i) => {
      const error = misses[Math.min(misses.length - 1, Math.floor(q * misses.length))] ?? 0;
      this.#targets[t + 3 + i] = level + (q === 0.5 ? 0 : error * wider);
    });
  }

  #flush(): void {
    this.#chunks.forEach((rows, i) => {
      for (const row of rows) writeSync(this.#files[i]!, new Uint8Array(row.buffer));
      rows.length = 0;
    });
  }

  close(): void {
    this.#flush();
    for (const file of this.#files) closeSync(file);
  }
}

/** What the engine keeps of a value: the newest steps one by one, then means of 12 and of 96 steps. */
const KEPT_STEPS = 304;
const KEPT_BLOCKS = [
  { width: 12, reach: 2304 },
  { width: 96, reach: Number.POSITIVE_INFINITY },
] as const;

function remembered(values: Float64Array, begin: number, origin: number, age: number): number {
  if (age < KEPT_STEPS) return values[origin - 1 - age]!;
  const { width } = age < KEPT_BLOCKS[0].reach ? KEPT_BLOCKS[0] : KEPT_BLOCKS[1];
  const first = begin + Math.floor((origin - 1 - age - begin) / width) * width;
  let sum = 0;
  let known = 0;
  for (let t = first; t < Math.min(first + width, origin); t++) {
    const value = values[t]!;
    if (Number.isNaN(value)) continue;
    sum += value;
    known++;
  }
  return known > 0 ? sum / known : Number.NaN;
}

function deviationOf(values: Float64Array, begin: number, origin: number): number {
  let n = 0;
  let sum = 0;
  let squares = 0;
  for (let t = Math.max(begin, origin - DEVIATION_STEPS_MAX); t < origin; t++) {
    const value = values[t]!;
    if (Number.isNaN(value)) continue;
    n++;
    sum += value;
    squares += value * value;
  }
  return n === 0 ? 0 : Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2));
}

/** What the engine might believe: mostly true, sometimes nothing, sometimes wrong, sometimes found in the data. */
function believed(series: MadeSeries, begin: number, origin: number, random: Random): number[] {
  const kind = random.next();
  if (kind < 0.72) return series.periods;
  if (kind < 0.82) return [];
  if (kind < 0.9) return [random.logBetween(3, 600), ...series.periods].slice(0, 2);
  const found = strongestPeriod([series.values.slice(Math.max(begin, origin - 512), origin)]);
  return found === undefined ? series.periods.slice(0, 1) : [found.period, ...series.periods].slice(0, 2);
}

function drawTask(series: MadeSeries, into: ArraySet, random: Random, group: number, vary: boolean): void {
  const total = series.values.length;
  if (total < 12) return;
  const length = Math.max(
    1,
    Math.floor(
      random.chance(0.3) ? random.logBetween(1, Math.min(64, total - 8)) : random.logBetween(16, total - 4),
    ),
  );
  const begin = random.whole(total - length - 1);
  const origin = begin + length;
  const most = Math.min(total - origin, Math.max(16, 2 * length), HORIZON_STEPS_MAX);
  const horizons = Array.from({ length: HORIZONS }, () =>
    Math.max(1, Math.min(most, Math.floor(random.logBetween(1, most + 1)))),
  );
  horizons.sort((a, b) => a - b);
  const periods = vary ? believed(series, begin, origin, random) : series.periods;
  into.add(
    { values: series.values, periods },
    begin,
    origin,
    horizons,
    group,
    series.periods.every((period) => period !== 24) && random.chance(0.6),
  );
}

mkdirSync(out, { recursive: true });
const random = new Random(Number(options.seed));
const wanted = Number(options.tasks);
const train = new ArraySet('train');
const heldOut = new ArraySet('held-out');
const evaluate = new ArraySet('evaluate');
const groups = ['synthetic', ...list.sets.map(({ name }) => name)];

list.sets.forEach((set, s) => {
  const all = readSet(join(options.traces!, set.file), set.name);
  const own = new Random(hashOf(`${options.seed} ${set.name}`));
  if (!set.trains) {
    const plain = (one: RealSeries) => ({ values: one.values, periods: calendarPeriods(one.stepS) });
    for (let i = 0; i < Math.min(20_000, wanted / 20); i++)
      drawTask(plain(own.pick(all)), evaluate, own, s + 1, false);
    return;
  }
  // A set of a few series would lose too much: it teaches whole.
  const held = all.length < SERIES_TO_HOLD_OUT ? [] : all.filter(isHeldOut);
  const teaching = all.filter((one) => !held.includes(one));
  for (let i = 0; i < (wanted * set.share) / TASKS_PER_SERIES; i++) {
    const series = varied(teaching, own);
    for (let k = 0; k < TASKS_PER_SERIES; k++) drawTask(series, train, own, s + 1, true);
  }
  for (let i = 0; held.length > 0 && i < Math.min(10_000, wanted / 20); i++) {
    const one = own.pick(held);
    drawTask({ values: one.values, periods: calendarPeriods(one.stepS) }, heldOut, own, s + 1, false);
  }
  console.log(
    `${set.name}: ${teaching.length} series teach, ${held.length} held out; ${train.tasks} tasks so far`,
  );
});
for (let i = 0; i < (wanted * list.syntheticShare) / TASKS_PER_SERIES; i++) {
  const series = makeSynthetic(random);
  for (let k = 0; k < TASKS_PER_SERIES; k++) drawTask(series, train, random, 0, true);
}
for (let i = 0; i < Math.min(2_000, wanted / 100); i++) {
  const series = makeSynthetic(random);
  for (let k = 0; k < 4; k++) drawTask(series, heldOut, random, 0, false);
}
for (const set of [train, heldOut, evaluate]) set.close();
writeFileSync(
  join(out, 'layout.json'),
  JSON.stringify(
    {
      ...layout,
      horizons: HORIZONS,
      targets: TARGETS,
      groups,
      tasks: [train.tasks, heldOut.tasks, evaluate.tasks],
    },
    null,
    1,
  ),
);
console.log(`${train.tasks} tasks teach, ${heldOut.tasks} are held out, ${evaluate.tasks} evaluate`);
