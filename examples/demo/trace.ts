/**
 * A recorded series as the shape of the load: `--trace FILE` or `--trace FILE#id`.
 *
 * Format: JSON Lines, gzipped or not, a series a line: `{"id","src","metric","unit","step_s","t0","v":[...]}`, `null`
 * for a missing value. A real day of the series lasts a day of the demo; its mean becomes `--rate`; missing values are
 * interpolated; behind its end it starts again. Only the shape counts, the unit does not.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { RateShape } from './load-formula.ts';

const DAY_S = 86_400;

export interface TraceSeries {
  id: string;
  step_s: number;
  t0: number;
  v: (number | null)[];
}

/** @throws Error that says what is wrong with the file and what it should hold. */
export function readTrace(argument: string): TraceSeries {
  const hash = argument.lastIndexOf('#');
  const path = hash > 0 ? argument.slice(0, hash) : argument;
  const id = hash > 0 ? argument.slice(hash + 1) : undefined;
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`cannot read the trace ${path}: ${(error as Error).message}`);
  }
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('utf8');
  const ids: string[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const series = parseSeries(line, path);
    if (id === undefined || series.id === id) return series;
    ids.push(series.id);
  }
  throw new Error(
    `${path} holds no series ${id ?? ''}; it holds ${ids.slice(0, 5).join(', ') || 'none'} ...`,
  );
}

export function parseSeries(line: string, path: string): TraceSeries {
  let series: Partial<TraceSeries>;
  try {
    series = JSON.parse(line) as Partial<TraceSeries>;
  } catch {
    throw new Error(`${path} is not JSON Lines: ${line.slice(0, 60)}`);
  }
  const { id, step_s, t0 = 0, v } = series;
  if (typeof id !== 'string' || !(Number(step_s) > 0) || !Array.isArray(v) || v.length < 2) {
    throw new Error(
      `${path} has a line without id, step_s and at least two values in v: ${line.slice(0, 60)}`,
    );
  }
  return { id, step_s: step_s!, t0, v };
}

/** The series as a rate of mean 1 over time in days. */
export function traceShape(series: TraceSeries): RateShape {
  const values = fillGaps(series.v).map((value) => Math.max(0, value));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  if (!(mean > 0)) throw new Error(`the series ${series.id} is nowhere above 0: it gives no load`);
  const shares = values.map((value) => value / mean);
  const stepsPerDay = DAY_S / series.step_s;
  return {
    at(day) {
      const position = day * stepsPerDay;
      const step = Math.floor(position);
      const after = position - step;
      const here = shares[wrap(step, shares.length)]!;
      return here + (shares[wrap(step + 1, shares.length)]! - here) * after;
    },
    max: Math.max(...shares),
  };
}

function wrap(index: number, length: number): number {
  return ((index % length) + length) % length;
}

/** Missing values lie on the line between their neighbours; at the ends they repeat the nearest one. */
export function fillGaps(values: readonly (number | null)[]): number[] {
  const known = values.flatMap((value, i) =>
    typeof value === 'number' && Number.isFinite(value) ? [i] : [],
  );
  if (known.length === 0) throw new Error('the series holds no value');
  const filled: number[] = [];
  let next = 0;
  for (let i = 0; i < values.length; i++) {
    while (next < known.length && known[next]! < i) next++;
    const right = known[Math.min(next, known.length - 1)]!;
    const left = right <= i ? right : known[Math.max(0, next - 1)]!;
    const [a, b] = [values[left]!, values[right]!];
    filled.push(right === left ? b : a + ((b - a) * (i - left)) / (right - left));
  }
  return filled;
}
