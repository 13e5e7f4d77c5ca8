/**
 * Ridge regression of what came on what the experts said: levels against each other tell how fast a load returns to its
 * mean, levels against the season how much of today's difference stays. One regression a bucket of horizons, on the
 * experts' differences from their mixture, so that ridge's "nothing known" is the mixture itself.
 *
 * Invariants: far-off steps count as far off, not as how far (Huber); the answer is one more expert, scored as they are.
 */
import { BLEND_EXPERTS, BLEND_SIZE, C, type Row } from './layout.ts';

const D = BLEND_EXPERTS.length;
const TRIANGLE = (D * (D + 1)) / 2;
/** Settled answers between two solutions, once there are many. */
const SOLVE_EVERY = 4;
const SAMPLES_MIN = 6;
export const BLEND_TUNED = {
  /** Answers after which what was learnt weighs little: edges are few a day. */
  memory: 1000,
  /** Deviation of a coefficient that is nothing unusual. */
  tau: 0.3,
  huber: 2.5,
  /** Weight against an expert of the same loss: it has heard several. */
  say: 3,
} as const;

const features = new Float64Array(D);
const matrix = new Float64Array(D * D);
const solution = new Float64Array(D);

/** What the regression says, given the experts' answers and their mixture. */
export function blendAnswer(row: Row, bucket: number, answers: ArrayLike<number>, base: number): number {
  const { floats: x, f, layout } = row;
  if (layout.blendAt < 0) return Number.NaN;
  const at = f + layout.blendAt + bucket * BLEND_SIZE + TRIANGLE + D;
  let sum = base;
  for (let i = 0; i < D; i++) {
    const answer = answers[BLEND_EXPERTS[i]!]!;
    if (!Number.isNaN(answer)) sum += x[at + i]! * (answer - base);
  }
  return sum;
}

/**
 * Learns from one settled slot.
 *
 * @param spread of the mixture then: what is far off
 */
export function learnBlend(
  row: Row,
  bucket: number,
  answers: ArrayLike<number>,
  base: number,
  value: number,
  spread: number,
): void {
  const { floats: x, f, layout } = row;
  if (layout.blendAt < 0) return;
  const at = f + layout.blendAt + bucket * BLEND_SIZE;
  const count = row.codes[row.c + C.scores + bucket]!;
  for (let i = 0; i < D; i++) {
    const answer = answers[BLEND_EXPERTS[i]!]!;
    features[i] = Number.isNaN(answer) ? 0 : answer - base;
  }
  const off = value - base;
  const far = Math.abs(off) / (BLEND_TUNED.huber * spread + 1e-9);
  const weight = 1 / (spread * spread * Math.max(1, far) + 1e-9);
  const keep = 1 - 1 / BLEND_TUNED.memory;
  let k = at;
  for (let i = 0; i < D; i++)
    for (let j = 0; j <= i; j++, k++) x[k] = keep * x[k]! + weight * features[i]! * features[j]!;
  for (let i = 0; i < D; i++, k++) x[k] = keep * x[k]! + weight * features[i]! * off;
  if (count < SAMPLES_MIN || (count > 32 && count % SOLVE_EVERY !== 0)) return;
  solve(x, at);
}

/** Cholesky of the regularised normal matrix; leaves the old solution where it fails. */
function solve(x: Float32Array, at: number): void {
  const ridge = 1 / (BLEND_TUNED.tau * BLEND_TUNED.tau);
  let k = at;
  for (let i = 0; i < D; i++) {
    for (let j = 0; j <= i; j++, k++) {
      let sum = x[k]! + (i === j ? ridge : 0);
      for (let m = 0; m < j; m++) sum -= matrix[i * D + m]! * matrix[j * D + m]!;
      if (i === j) {
        if (!(sum > 1e-12)) return;
        matrix[i * D + i] = Math.sqrt(sum);
      } else matrix[i * D + j] = sum / matrix[j * D + j]!;
    }
  }
  for (let i = 0; i < D; i++, k++) {
    let sum = x[k]!;
    for (let m = 0; m < i; m++) sum -= matrix[i * D + m]! * solution[m]!;
    solution[i] = sum / matrix[i * D + i]!;
  }
  for (let i = D - 1; i >= 0; i--) {
    let sum = solution[i]!;
    for (let m = i + 1; m < D; m++) sum -= matrix[m * D + i]! * solution[m]!;
    solution[i] = sum / matrix[i * D + i]!;
  }
  for (let i = 0; i < D; i++) x[k + i] = solution[i]!;
}
