/** Draws a series and its forecast with a band, in characters. Pure. */

import { amount } from './table.ts';

export interface ChartInput {
  /** Oldest first; one value a step. */
  history: readonly number[];
  /** One value a step, from one step after the last of `history`. */
  p50: readonly number[];
  p90: readonly number[];
  width: number;
  height: number;
}

const HISTORY = '●';
const MEDIAN = '─';
const BAND = '░';

/**
 * @returns lines, the highest value first, with an axis on the left and `now` marked below.
 */
export function chart(input: ChartInput): string {
  const columns = Math.max(10, input.width - 10);
  const ahead = Math.min(input.p50.length, Math.floor(columns / 2));
  const past = input.history.slice(-(columns - ahead));
  const highest = Math.max(1e-9, ...past, ...input.p90.slice(0, ahead));
  const rows: string[][] = Array.from({ length: input.height }, () =>
    new Array<string>(past.length + ahead).fill(' '),
  );
  const rowOf = (value: number) =>
    input.height - 1 - Math.round((Math.max(0, value) / highest) * (input.height - 1));
  past.forEach((value, x) => {
    rows[rowOf(value)]![x] = HISTORY;
  });
  for (let i = 0; i < ahead; i++) {
    const x = past.length + i;
    const from = rowOf(input.p90[i]!);
    const to = rowOf(input.p50[i]!);
    for (let y = from; y <= to; y++) rows[y]![x] = BAND;
    rows[to]![x] = MEDIAN;
  }
  const lines = rows.map((row, y) => {
    const labelled = y === 0 || y === input.height - 1 || y === Math.floor(input.height / 2);
    const value = (highest * (input.height - 1 - y)) / (input.height - 1);
    return `${(labelled ? amount(value) : '').padStart(8)} │${row.join('').trimEnd()}`;
  });
  const axis = `${' '.repeat(8)} └${'─'.repeat(past.length)}┴${'─'.repeat(Math.max(0, ahead - 1))}`;
  const mark = `${' '.repeat(10 + Math.max(0, past.length - 1))}now`;
  return `${[...lines, axis, mark].join('\n')}\n`;
}

/** Values at each step, straight between the horizons that were asked for. */
export function interpolate(
  horizonsS: readonly number[],
  values: readonly number[],
  stepS: number,
  stepsMax: number,
): number[] {
  const last = horizonsS.at(-1) ?? 0;
  const steps = Math.min(stepsMax, Math.floor(last / stepS));
  const result: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const atS = step * stepS;
    const right = horizonsS.findIndex((h) => h >= atS);
    if (right <= 0) {
      result.push(values[0] ?? 0);
      continue;
    }
    const [leftS, rightS] = [horizonsS[right - 1]!, horizonsS[right]!];
    const share = (atS - leftS) / (rightS - leftS);
    result.push(values[right - 1]! * (1 - share) + values[right]! * share);
  }
  return result;
}

export interface ScatterInput {
  points: readonly { x: number; y: number; mark: string }[];
  width: number;
  height: number;
}

/** Marks on a plane, the root of `y` upwards so that small values stay apart; later marks hide earlier ones. */
export function scatter(input: ScatterInput): string {
  const columns = Math.max(20, input.width - 12);
  const xMin = Math.min(...input.points.map(({ x }) => x));
  const xMax = Math.max(...input.points.map(({ x }) => x));
  const yMax = Math.max(1e-9, ...input.points.map(({ y }) => y));
  const rows: string[][] = Array.from({ length: input.height }, () => new Array<string>(columns).fill(' '));
  for (const { x, y, mark } of input.points) {
    const column = Math.round(((x - xMin) / Math.max(1e-9, xMax - xMin)) * (columns - 1));
    const row = input.height - 1 - Math.round(Math.sqrt(Math.max(0, y) / yMax) * (input.height - 1));
    rows[row]![column] = mark;
  }
  const lines = rows.map((row, i) => {
    const labelled = i % 5 === 0 || i === input.height - 1;
    const value = yMax * ((input.height - 1 - i) / (input.height - 1)) ** 2;
    return `${(labelled ? value.toFixed(value < 10 ? 1 : 0) : '').padStart(9)} │${row.join('').trimEnd()}`;
  });
  const left = `$${xMin.toFixed(2)}`;
  const right = `$${xMax.toFixed(2)}`;
  const gap = ' '.repeat(Math.max(1, columns - left.length - right.length));
  return `${[...lines, `${' '.repeat(9)} └${'─'.repeat(columns)}`, `${' '.repeat(11)}${left}${gap}${right}`].join('\n')}\n`;
}
