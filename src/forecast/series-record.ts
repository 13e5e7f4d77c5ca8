/**
 * One series as a line of JSON: what `skein forecast run` and `backtest` read. Parsing names what is wrong in words that
 * a person can act on; nothing is guessed.
 */

import { VALUE_READ_MAX } from './bank/bank.ts';
import { COVARIATES_MAX } from './bank/covariates.ts';
import { FACTOR_MAX } from './bank/events.ts';
import { countsOf } from './counter.ts';
import { type Grid, gridOf, onGrid } from './series-grid.ts';

/** Something that happens at known times and moves the load: a match, a sale, a release. */
export interface SeriesEvent {
  /** Its type: one seen before is expected to act again. Empty: of no type, it acts as declared only. */
  label: string;
  /** Unix seconds; `to` is the end, not included. */
  from: number;
  to: number;
  /** How many times the load is expected to be where the type was never seen; 1 by default. */
  factor?: number;
}

export interface SeriesRecord {
  id: string;
  /** Unix seconds of the first value. */
  t0: number;
  step_s: number;
  /** Oldest first; NaN where missing, infinite or beyond 1e30. */
  v: Float64Array;
  /** Each as long as the history and the horizon together; NaN where missing. */
  covariates: Map<string, Float64Array>;
  events: SeriesEvent[];
  /** Indices of saturated steps: their values are lower bounds of demand. */
  censored: Set<number>;
}

/** A line longer than this is refused: 64 million characters are some five million values. */
export const LINE_CHARS_MAX = 64_000_000;
export const EVENTS_MAX = 10_000;
/** Seconds before or after 1970 that a series may reach: some thirty million years. */
const TIME_S_MAX = 1e15;
/** Characters shown of what is not as it should be. */
const SHOWN_CHARS = 40;

/**
 * @param line one line, not empty
 * @throws {RangeError} saying what is wrong and what was expected
 */
export function parseSeries(line: string): SeriesRecord {
  if (line.length > LINE_CHARS_MAX)
    throw new RangeError(`the line is longer than ${LINE_CHARS_MAX} characters; split the series`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    const hint = /\bNaN\b|\bInfinity\b/.test(line) ? '; write null for a missing value' : '';
    throw new RangeError(`it is not JSON: ${(error as Error).message}${hint}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new RangeError('it is not an object with "id", "t0", "step_s" and "v"');
  const from = parsed as Record<string, unknown>;
  if (typeof from.id !== 'string' && typeof from.id !== 'number')
    throw new RangeError('"id" is missing; it names the series');
  const t0 = from.t0 ?? 0;
  if (typeof t0 !== 'number' || !Number.isFinite(t0))
    throw new RangeError('"t0" is not a number of Unix seconds');
  const timed = from.t !== undefined && from.t !== null;
  if (
    !(timed && from.step_s === undefined) &&
    (typeof from.step_s !== 'number' || !(from.step_s > 0) || !Number.isFinite(from.step_s))
  )
    throw new RangeError('"step_s" is not a number of seconds above zero');
  const counter = kindOf(from.kind) === 'counter';
  const v = numbers(from.v, '"v"');
  // No load is that large: whoever reads the record need not ask again.
  for (let i = 0; i < v.length; i++) if (!(Math.abs(v[i]!) <= VALUE_READ_MAX)) v[i] = Number.NaN;
  const read = {
    id: String(from.id),
    t0,
    step_s: from.step_s as number,
    v,
    covariates: covariatesOf(from.covariates),
    events: eventsOf(from.events),
    censored: censoredOf(from.censored, v.length),
  };
  for (const [name, values] of read.covariates)
    if (values.length < read.v.length)
      throw new RangeError(
        `covariate "${name}" holds ${values.length} values for ${read.v.length} steps; it holds the history and the horizon`,
      );
  const record = timed ? onSteps(read, numbers(from.t, '"t"'), counter) : read;
  if (!(Math.abs(record.t0) + record.v.length * record.step_s <= TIME_S_MAX))
    throw new RangeError('"t0" and "step_s" are not in seconds: the series would reach beyond any calendar');
  return counter ? { ...record, v: countsOf(record.v) } : record;
}

function kindOf(kind: unknown): 'gauge' | 'counter' {
  if (kind === undefined || kind === null || kind === 'gauge') return 'gauge';
  if (kind === 'counter') return 'counter';
  throw new RangeError('"kind" is neither "gauge" nor "counter"');
}

/** Readings with times of their own as steps; covariates beyond the history follow its last step. */
function onSteps(read: SeriesRecord, times: Float64Array, counter: boolean): SeriesRecord {
  if (times.length !== read.v.length)
    throw new RangeError(`"t" holds ${times.length} times for ${read.v.length} values`);
  if (times.length === 0) return { ...read, step_s: read.step_s ?? 1 };
  const grid = gridOf(times, read.step_s);
  return {
    ...read,
    t0: grid.t0,
    step_s: grid.stepS,
    v: onGrid(grid, times, read.v, counter),
    covariates: new Map(
      [...read.covariates].map(([name, values]) => [name, covariateOn(grid, times, values)]),
    ),
    censored: new Set([...read.censored].map((i) => grid.stepOf[i] ?? -1).filter((step) => step >= 0)),
  };
}

function covariateOn(grid: Grid, times: Float64Array, values: Float64Array): Float64Array {
  const coming = values.subarray(times.length);
  const found = new Float64Array(grid.steps + coming.length);
  found.set(onGrid(grid, times, values.subarray(0, times.length), true));
  found.set(coming, grid.steps);
  return found;
}

function numbers(value: unknown, name: string): Float64Array {
  if (!Array.isArray(value)) throw new RangeError(`${name} is not an array of numbers`);
  const found = new Float64Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const one: unknown = value[i];
    if (typeof one === 'number' || one === null) found[i] = one ?? Number.NaN;
    else throw new RangeError(`${name} holds ${shown(one)} at index ${i}; numbers and null are read`);
  }
  return found;
}

function covariatesOf(value: unknown): Map<string, Float64Array> {
  const found = new Map<string, Float64Array>();
  if (value === undefined || value === null) return found;
  if (typeof value !== 'object' || Array.isArray(value))
    throw new RangeError('"covariates" is not an object of arrays by name');
  const entries = Object.entries(value);
  if (entries.length > COVARIATES_MAX)
    throw new RangeError(`"covariates" holds ${entries.length} of them; at most ${COVARIATES_MAX} are used`);
  for (const [name, values] of entries) found.set(name, numbers(values, `covariate "${name}"`));
  return found;
}

function eventsOf(value: unknown): SeriesEvent[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new RangeError('"events" is not an array');
  if (value.length > EVENTS_MAX)
    throw new RangeError(`"events" holds ${value.length} of them; at most ${EVENTS_MAX} are used`);
  return value.map((one, i) => {
    const event = one as { label?: unknown; from?: unknown; to?: unknown; factor?: unknown } | null;
    const label = event?.label ?? '';
    const factor = event?.factor ?? 1;
    if (
      typeof label !== 'string' ||
      typeof event?.from !== 'number' ||
      typeof event.to !== 'number' ||
      !(event.to > event.from)
    )
      throw new RangeError(
        `event ${i} is not {"label", "from", "to"} with "from" before "to" in Unix seconds`,
      );
    if (typeof factor !== 'number' || !(factor > 0 && factor <= FACTOR_MAX))
      throw new RangeError(`event ${i} has a "factor" that is not above 0 and at most ${FACTOR_MAX}`);
    return {
      label,
      from: event.from,
      to: event.to,
      ...(event.factor !== undefined && { factor }),
    };
  });
}

/** @param steps values that the series has: an index beyond them marks nothing, so it is a mistake. */
function censoredOf(value: unknown, steps: number): Set<number> {
  if (value === undefined || value === null) return new Set();
  if (!Array.isArray(value)) throw new RangeError('"censored" is not an array of indices of "v"');
  const wrong = value.findIndex((index) => !Number.isInteger(index) || index < 0 || index >= steps);
  if (wrong >= 0)
    throw new RangeError(
      `"censored" holds ${shown(value[wrong])}, which is no index of the ${steps} values of "v"`,
    );
  return new Set(value as number[]);
}

/** Of a list or an object only what it is: it may be nested deeper than it could be written. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}...` : text;
}
