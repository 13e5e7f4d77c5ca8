/**
 * Real series: read from the files of a data list, told apart into those that may train and those held out, and varied
 * (coarser steps, sums of several, growth, counts) so that a few data sets stand for more.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { hashOf, type Random } from './random.ts';
import { addGrowth, finish, type MadeSeries } from './synthetic.ts';

export interface RealSeries {
  id: string;
  set: string;
  metric: string;
  stepS: number;
  values: Float64Array;
}

interface Line {
  id: string;
  metric: string;
  step_s: number;
  v: (number | null)[];
}

const DAY_S = 86_400;
/** One series in this many validates; by name, and for machines seen in two months by the machine. */
const HELD_OUT_ONE_IN = 8;

export function readSet(path: string, set: string): RealSeries[] {
  return gunzipSync(readFileSync(path))
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((text) => {
      const line = JSON.parse(text) as Line;
      const values = Float64Array.from(line.v, (value) => value ?? Number.NaN);
      return { id: line.id, set, metric: line.metric, stepS: line.step_s, values };
    })
    .filter(({ metric }) => metric !== 'covariate');
}

/** `rnd/274/cpu` and `rnd7/274/mem` are one machine: all of it is held out or none. */
export function isHeldOut({ id, set }: RealSeries): boolean {
  const machine = /^rnd7?\/(\d+)\//.exec(id)?.[1];
  const name = machine === undefined ? `${set} ${id}` : `bitbrains ${machine}`;
  return hashOf(name) % HELD_OUT_ONE_IN === 0;
}

/** A day and a week in steps. */
export function calendarPeriods(stepS: number): number[] {
  return [DAY_S / stepS, (7 * DAY_S) / stepS].filter((steps) => steps >= 2);
}

/** One varied series of a set. */
export function varied(all: readonly RealSeries[], random: Random): MadeSeries {
  const one = random.pick(all);
  let values = one.values;
  if (random.chance(0.2)) {
    const alike = all.filter(({ metric, stepS }) => metric === one.metric && stepS === one.stepS);
    values = sumOf(Array.from({ length: Math.round(random.logBetween(2, 40)) }, () => random.pick(alike)));
  }
  let stepS = one.stepS;
  const factor = random.chance(0.4) ? random.pick([2, 3, 4, 5, 6, 10, 12, 30]) : 1;
  if (factor > 1 && values.length / factor >= 64) {
    values = coarser(values, factor, random.chance(0.1));
    stepS *= factor;
  } else values = values.slice();
  if (random.chance(0.2)) addGrowth(values, random);
  if (random.chance(0.3)) finish(values, random);
  return { values, periods: calendarPeriods(stepS) };
}

function coarser(values: Float64Array, factor: number, largest: boolean): Float64Array {
  const out = new Float64Array(Math.floor(values.length / factor));
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    let known = 0;
    let most = Number.NEGATIVE_INFINITY;
    for (let j = i * factor; j < (i + 1) * factor; j++) {
      const value = values[j]!;
      if (Number.isNaN(value)) continue;
      sum += value;
      most = Math.max(most, value);
      known++;
    }
    out[i] = known === 0 ? Number.NaN : largest ? most : sum / known;
  }
  return out;
}

function sumOf(series: readonly RealSeries[]): Float64Array {
  const out = new Float64Array(Math.min(...series.map(({ values }) => values.length)));
  for (const { values } of series)
    for (let t = 0; t < out.length; t++) out[t]! += Number.isNaN(values[t]!) ? 0 : values[t]!;
  return out;
}
