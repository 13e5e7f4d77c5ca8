/**
 * Short memory: autoregressions of three steps, on what is left of the load once its mean, its profile, or its long
 * profile are taken away (Box and Jenkins 1970; on the seasonally adjusted series as Cleveland et al. 1990).
 *
 * Levels forget at a fixed rate; how much of today's difference stays, and whether it swings back, is learnt here.
 *
 * Invariants: coefficients are learnt by ridge regression from clipped errors; what is foreseen never leaves the range of
 * differences just seen, so nothing explodes; a missing step breaks the chain.
 */
import type { SeasonNow } from './experts.ts';
import { F, type Row } from './layout.ts';

/** Steps looked back on. */
export const LAGS = 3;
const TRIANGLE = (LAGS * (LAGS + 1)) / 2;
/** Floats of one autoregression: normal matrix, right side, coefficients, newest differences, their count. */
export const RESIDUAL_SIZE = TRIANGLE + 3 * LAGS + 1;
/** First of the newest differences among them. */
export const RESIDUAL_LAGS_AT = TRIANGLE + 2 * LAGS;
/** Mean, profile, long profile. */
export const RESIDUALS = 3;
/** Steps after which what was learnt weighs little. */
const MEMORY = 500;
/** Steps that the prior is worth: so much of the newest difference stays. */
const PRIOR = 4;
const PRIOR_FIRST = 0.9;
/** Ridge grows with so much of the differences' squares: twins of lags are told apart by this much only. */
const RIDGE_SHARE = 0.003;
/** Errors beyond so many usual ones count as far off, not as how far. */
const HUBER = 3;
/** A difference that stays for ever is taken to fade a little. */
const DAMPING = 0.9995;
/** Steps after which coefficients are solved for only every so many steps. */
const SOLVE_ALWAYS = 64;
const SOLVE_EVERY = 4;
/** No difference is foreseen beyond so many times the largest of the newest. */
const DIFFERENCE_MAX = 1.5;
/** Beyond so many steps what is left of a difference is foreseen as none. */
const ITERATIONS_MAX = 600;

const matrix = new Float64Array(LAGS * LAGS);
const solution = new Float64Array(LAGS);

/** Learns a value, in units of the scale; call before the step is pushed, with what was expected of it. */
export function learnResiduals(row: Row, value: number, now: SeasonNow): void {
  if (row.layout.residualAt < 0) return;
  learnOne(row, 0, value - row.floats[row.f + F.mean]!);
  learnOne(row, 1, value - now.profile);
  learnOne(row, 2, value - now.long);
}

/** A step is missing: differences of before are not those of the steps that come. */
export function breakResiduals(row: Row): void {
  const { floats: x, f, layout } = row;
  if (layout.residualAt < 0) return;
  for (let kind = 0; kind < RESIDUALS; kind++)
    x[f + layout.residualAt + kind * RESIDUAL_SIZE + RESIDUAL_LAGS_AT + LAGS] = 0;
}

function learnOne(row: Row, kind: number, difference: number): void {
  const { floats: x, f, layout } = row;
  const at = f + layout.residualAt + kind * RESIDUAL_SIZE;
  const lags = at + TRIANGLE + 2 * LAGS;
  const counted = lags + LAGS;
  if (Number.isNaN(difference)) {
    x[counted] = 0;
    return;
  }
  const count = x[counted]!;
  if (count >= LAGS) {
    const usual = x[f + F.noiseSlow]! + 1e-6;
    let said = 0;
    for (let i = 0; i < LAGS; i++) said += x[at + TRIANGLE + LAGS + i]! * x[lags + i]!;
    const far = Math.abs(difference - said) / (HUBER * usual);
    const weight = 1 / (usual * usual * Math.max(1, far));
    const keep = 1 - 1 / MEMORY;
    let k = at;
    for (let i = 0; i < LAGS; i++)
      for (let j = 0; j <= i; j++, k++) x[k] = keep * x[k]! + weight * x[lags + i]! * x[lags + j]!;
    for (let i = 0; i < LAGS; i++, k++) x[k] = keep * x[k]! + weight * x[lags + i]! * difference;
    if (count < SOLVE_ALWAYS || count % SOLVE_EVERY === 0) solve(x, at);
  }
  for (let i = LAGS - 1; i > 0; i--) x[lags + i] = x[lags + i - 1]!;
  x[lags] = difference;
  x[counted] = count + 1;
}

function solve(x: Float32Array, at: number): void {
  let k = at;
  let trace = 0;
  for (let i = 0, d = at; i < LAGS; i++, d += i + 1) trace += x[d]!;
  const ridge = PRIOR * (1 + (RIDGE_SHARE * trace) / LAGS);
  for (let i = 0; i < LAGS; i++) {
    for (let j = 0; j <= i; j++, k++) {
      let sum = x[k]! + (i === j ? ridge : 0);
      for (let m = 0; m < j; m++) sum -= matrix[i * LAGS + m]! * matrix[j * LAGS + m]!;
      if (i === j) {
        if (!(sum > 1e-12)) return;
        matrix[i * LAGS + i] = Math.sqrt(sum);
      } else matrix[i * LAGS + j] = sum / matrix[j * LAGS + j]!;
    }
  }
  for (let i = 0; i < LAGS; i++, k++) {
    let sum = x[k]! + (i === 0 ? ridge * PRIOR_FIRST : 0);
    for (let m = 0; m < i; m++) sum -= matrix[i * LAGS + m]! * solution[m]!;
    solution[i] = sum / matrix[i * LAGS + i]!;
  }
  for (let i = LAGS - 1; i >= 0; i--) {
    let sum = solution[i]!;
    for (let m = i + 1; m < LAGS; m++) sum -= matrix[m * LAGS + i]! * solution[m]!;
    solution[i] = sum / matrix[i * LAGS + i]!;
  }
  for (let i = 0; i < LAGS; i++) x[k + i] = solution[i]!;
}

/** What is foreseen of the difference `ahead` steps from the newest; NaN where the chain is broken. */
export function residualAhead(row: Row, kind: number, ahead: number): number {
  const { floats: x, f, layout } = row;
  const at = f + layout.residualAt + kind * RESIDUAL_SIZE;
  const lags = at + TRIANGLE + 2 * LAGS;
  if (x[lags + LAGS]! < LAGS + 2) return Number.NaN;
  if (ahead > ITERATIONS_MAX) return 0;
  const a = x[at + TRIANGLE + LAGS]! * DAMPING;
  const b = x[at + TRIANGLE + LAGS + 1]!;
  const c = x[at + TRIANGLE + LAGS + 2]!;
  let [x1, x2, x3] = [x[lags]!, x[lags + 1]!, x[lags + 2]!];
  const most = DIFFERENCE_MAX * Math.max(Math.abs(x1), Math.abs(x2), Math.abs(x3));
  const whole = Math.floor(ahead);
  for (let step = 0; step < whole; step++) {
    let next = a * x1 + b * x2 + c * x3;
    next = next > most ? most : next < -most ? -most : next;
    x3 = x2;
    x2 = x1;
    x1 = next;
  }
  return x1;
}
