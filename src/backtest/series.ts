/**
 * Load series as people have them: JSON Lines or CSV text into numbers on one grid of steps.
 *
 * JSON Lines: `{ "id", "step_s", "t0"?, "v": [numbers or null], "metric"?, "origin"? }` a line. CSV: a header, then either
 * long rows `time,id,value[,origin]` or wide ones `time,<series>,<series>...`. Times are Unix seconds, Unix milliseconds
 * or ISO 8601.
 *
 * Boundary: text in, series out; no files, no network. What cannot be read is an error that names line and reason.
 */
import type { Region } from '../model/ids.ts';

export interface Series {
  id: string;
  stepS: number;
  /** Start of the first step, Unix seconds. */
  t0S: number;
  /** One value a step, NaN where missing; never negative. */
  values: Float32Array;
  metric?: string;
  /** Region its users are in, where the data says so. */
  origin?: Region;
}

/** What is wrong with a line of input. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
  readonly line: number;
  constructor(line: number, reason: string) {
    super(`line ${line}: ${reason}`);
    this.line = line;
  }
}

/** Values of all series together that are kept: about a gigabyte. */
export const TRACE_VALUES_MAX = 250_000_000;
const SERIES_MAX = 1_000_000;
/** No load is larger; it would not fit the numbers that are kept. */
const VALUE_MAX = 1e30;
/** A shorter step is one of milliseconds taken for seconds. */
const STEP_S_MIN = 1;
/** ISO 8601: a date, and a time of day with or without a zone. Other forms are read differently by different people. */
const ISO_TIME = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i;

/** @throws TraceError with the line and what was expected */
export function parseJsonLines(text: string): Series[] {
  const found: Series[] = [];
  const seen = new Set<string>();
  let total = 0;
  text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .forEach((content, i) => {
      if (content.trim() === '') return;
      const line = i + 1;
      let parsed: unknown;
      try {
        parsed = JSON.parse(content);
      } catch (error) {
        const hint = /\bNaN\b|\bInfinity\b/.test(content) ? '; write null for a missing value' : '';
        throw new TraceError(line, `not JSON: ${(error as Error).message}${hint}`);
      }
      const series = toSeries(parsed, line);
      const key = JSON.stringify([series.id, series.metric]);
      if (seen.has(key)) throw new TraceError(line, `the series ${JSON.stringify(series.id)} is there twice`);
      seen.add(key);
      total += series.values.length;
      if (total > TRACE_VALUES_MAX) throw new TraceError(line, `more than ${TRACE_VALUES_MAX} values in all`);
      found.push(series);
    });
  return found;
}

function toSeries(parsed: unknown, line: number): Series {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new TraceError(line, 'expected an object { "id", "step_s", "v": [...] }');
  const { id, step_s: stepS, t0, v, metric, origin } = parsed as Record<string, unknown>;
  if (typeof id !== 'string' || id === '') throw new TraceError(line, '$.id: expected a name');
  if (typeof stepS !== 'number' || !(stepS > 0) || !Number.isFinite(stepS))
    throw new TraceError(line, '$.step_s: expected seconds above zero');
  if (stepS < STEP_S_MIN) throw new TraceError(line, `$.step_s: ${tooShort(stepS)}`);
  if (t0 !== undefined && t0 !== null && (typeof t0 !== 'number' || !Number.isFinite(t0)))
    throw new TraceError(line, '$.t0: expected Unix seconds, or null');
  if (!Array.isArray(v) || v.length === 0) throw new TraceError(line, '$.v: expected a list of values');
  if (origin !== undefined && origin !== null && typeof origin !== 'string')
    throw new TraceError(line, '$.origin: expected the name of a region');
  const values = new Float32Array(v.length);
  v.forEach((value: unknown, k) => {
    if (value === null) values[k] = Number.NaN;
    else if (typeof value !== 'number' || !(value <= VALUE_MAX))
      throw new TraceError(
        line,
        `$.v[${k}]: expected a number up to ${VALUE_MAX} or null, found ${shown(value)}`,
      );
    else if (value < 0) throw new TraceError(line, `$.v[${k}]: load cannot be negative, found ${value}`);
    else values[k] = value;
  });
  return {
    id,
    stepS,
    t0S: typeof t0 === 'number' ? t0 : 0,
    values,
    metric: typeof metric === 'string' ? metric : undefined,
    origin: typeof origin === 'string' ? origin : undefined,
  };
}

/** @throws TraceError with the line and what was expected */
export function parseCsv(text: string): Series[] {
  const lines = text.split(/\r?\n/);
  const first = Math.max(
    0,
    lines.findIndex((line) => line.trim() !== ''),
  );
  const head = cells(lines[first] ?? '').map((name) => name.trim());
  const names = head.map((name) => name.toLowerCase());
  const timeAt = names.findIndex((name) => ['time', 'timestamp', 'date', 'datetime'].includes(name));
  if (timeAt < 0)
    throw new TraceError(
      first + 1,
      `expected a header with a column "time"${/[;\t]/.test(lines[first]!) ? ' and commas between columns' : ''}, found ${shown(lines[first] ?? '')}`,
    );
  const twice = head.find((name, k) => head.indexOf(name) < k);
  if (twice !== undefined) throw new TraceError(first + 1, `the column ${shown(twice)} is there twice`);
  const valueAt = names.indexOf('value');
  const idAt = names.findIndex((name) => ['id', 'series', 'shard', 'name'].includes(name));
  const originAt = names.findIndex((name) => ['origin', 'region'].includes(name));
  const rows = new Map<string, { times: number[]; values: number[]; lines: number[]; origin?: string }>();
  const put = (id: string, timeS: number, cell: string | undefined, line: number, origin?: string) => {
    if (cell === undefined || cell.trim() === '') return;
    const value = Number(cell);
    if (!(Math.abs(value) <= VALUE_MAX))
      throw new TraceError(line, `expected a number for ${JSON.stringify(id)}, found ${shown(cell)}`);
    if (id === '') throw new TraceError(line, 'expected the name of a series, found nothing');
    if (value < 0) throw new TraceError(line, `load cannot be negative: ${JSON.stringify(id)} is ${value}`);
    let row = rows.get(id);
    if (row === undefined) {
      if (rows.size >= SERIES_MAX) throw new TraceError(line, `more than ${SERIES_MAX} series`);
      row = { times: [], values: [], lines: [], origin };
      rows.set(id, row);
    }
    row.times.push(timeS);
    row.values.push(value);
    row.lines.push(line);
  };
  for (let i = first + 1; i < lines.length; i++) {
    if (lines[i]!.trim() === '') continue;
    const row = cells(lines[i]!);
    if (row.length !== head.length)
      throw new TraceError(i + 1, `expected ${head.length} columns as in the header, found ${row.length}`);
    const timeS = parseTime(row[timeAt]!, i + 1);
    if (valueAt >= 0)
      put(
        idAt >= 0 ? row[idAt]!.trim() : 'all',
        timeS,
        row[valueAt],
        i + 1,
        originAt >= 0 ? row[originAt]!.trim() : undefined,
      );
    else
      head.forEach((name, k) => {
        if (k !== timeAt && k !== originAt) put(name, timeS, row[k], i + 1);
      });
  }
  if (rows.size === 0) throw new TraceError(first + 2, 'no values');
  return [...rows].map(([id, row]) => ({
    ...onGrid(id, row.times, row.values, row.lines),
    origin: row.origin,
  }));
}

/** Rows of one series, in any order, onto its own grid: the step is the smallest distance between two times. */
export function onGrid(
  id: string,
  times: readonly number[],
  values: readonly number[],
  lines?: readonly number[],
): Series {
  const order = times.map((_, i) => i).sort((a, b) => times[a]! - times[b]!);
  const first = times[order[0]!]!;
  let stepS = Number.POSITIVE_INFINITY;
  for (let i = 1; i < order.length; i++) {
    const gap = times[order[i]!]! - times[order[i - 1]!]!;
    if (gap === 0)
      throw new TraceError(lines?.[order[i]!] ?? i, `${JSON.stringify(id)} has two values at the same time`);
    stepS = Math.min(stepS, gap);
  }
  if (!Number.isFinite(stepS))
    throw new TraceError(lines?.[0] ?? 1, `${JSON.stringify(id)} has one value only; a step cannot be told`);
  if (stepS < STEP_S_MIN)
    throw new TraceError(lines?.[order[1]!] ?? 1, `${JSON.stringify(id)}: ${tooShort(stepS)}`);
  const count = Math.round((times[order.at(-1)!]! - first) / stepS) + 1;
  if (count > TRACE_VALUES_MAX)
    throw new TraceError(
      lines?.[order.at(-1)!] ?? 1,
      `${JSON.stringify(id)} would have ${count} steps of ${stepS} s; are the times in one unit?`,
    );
  const grid = new Float32Array(count).fill(Number.NaN);
  for (const i of order) grid[Math.round((times[i]! - first) / stepS)] = values[i]!;
  return { id, stepS, t0S: first, values: grid };
}

function parseTime(text: string, line: number): number {
  const number = Number(text);
  // Milliseconds since 1970 passed 10^11 in 1973, seconds will in the year 5138.
  if (text.trim() !== '' && Number.isFinite(number)) return Math.abs(number) >= 1e11 ? number / 1000 : number;
  const iso = ISO_TIME.exec(text.trim());
  // Without a zone a time is UTC: what a file says must not depend on who reads it.
  const parsed = iso
    ? Date.parse(
        `${text.trim().replace(' ', 'T').replace(',', '.').replace(/\s/g, '')}${iso[1] && !iso[4] ? 'Z' : ''}`,
      )
    : Number.NaN;
  if (Number.isNaN(parsed))
    throw new TraceError(
      line,
      `expected a time (Unix seconds, or ISO 8601 such as 2026-03-01T00:00:00Z), found ${shown(text)}`,
    );
  return parsed / 1000;
}

function tooShort(stepS: number): string {
  return `expected a step of ${STEP_S_MIN} s or more, found ${stepS} s; are the times in milliseconds?`;
}

/** What was found, as far as it fits into a sentence; JSON may be nested deeper than it could be written. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing');
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Cells of a CSV line (RFC 4180 without line breaks inside quotes). */
function cells(line: string): string[] {
  const found: string[] = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (quoted) {
      if (c !== '"') cell += c;
      else if (line[i + 1] === '"') {
        cell += '"';
        i++;
      } else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ',') {
      found.push(cell);
      cell = '';
    } else cell += c;
  }
  found.push(cell);
  return found;
}

/**
 * All on one grid: the coarsest step of all unless one is given; mean of the finer values in it, straight lines between the
 * middles of coarser ones: a mean of an hour held for an hour would make every series jump at once, on the hour.
 */
export function align(series: readonly Series[], stepS?: number): Series[] {
  const step = stepS ?? series.reduce((most, one) => Math.max(most, one.stepS), 0);
  return series.map((one) => resample(one, step));
}

function resample(series: Series, stepS: number): Series {
  if (series.stepS === stepS) return series;
  const count = Math.max(1, Math.floor((series.values.length * series.stepS) / stepS));
  const values = new Float32Array(count);
  if (stepS < series.stepS) {
    const last = series.values.length - 1;
    for (let i = 0; i < count; i++) {
      const at = Math.max(0, Math.min(last, ((i + 0.5) * stepS) / series.stepS - 0.5));
      const left = Math.floor(at);
      const share = at - left;
      values[i] =
        share === 0
          ? series.values[left]!
          : (1 - share) * series.values[left]! + share * series.values[left + 1]!;
    }
    return { ...series, stepS, values };
  }
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * stepS) / series.stepS);
    const to = Math.max(from + 1, Math.floor(((i + 1) * stepS) / series.stepS));
    let sum = 0;
    let known = 0;
    for (let k = from; k < Math.min(to, series.values.length); k++)
      if (!Number.isNaN(series.values[k]!)) {
        sum += series.values[k]!;
        known++;
      }
    values[i] = known > 0 ? sum / known : Number.NaN;
  }
  return { ...series, stepS, values };
}
