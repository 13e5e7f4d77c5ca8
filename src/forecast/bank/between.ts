/**
 * Between which two scored horizons another lies, and how far, by log of steps.
 *
 * A horizon of nearly whole periods is no neighbour to others: there the last value is as good as the season, and its
 * weights would say so of a horizon half a period nearer, where the last value is the worst of all.
 */
import { BUCKET_STEPS, BUCKETS, F, type Row } from './layout.ts';

/** Nearer than this share of the period to whole periods. */
const WHOLE = 1 / 6;

export interface Between {
  left: number;
  right: number;
  /** Of the right one. */
  share: number;
  /** One bit a bucket that is no neighbour to others. */
  skipped: number;
}

/** Which buckets a row's period takes out; ask once a row. */
export function skippedOf(row: Row): number {
  const { floats: x, f } = row;
  const period = x[f + F.periodA]!;
  if (!(period >= 2) || period > 1.2 * BUCKET_STEPS[BUCKETS - 1]! || x[f + F.length]! <= period) return 0;
  let skipped = 0;
  // The first stays: a step ahead is near whatever the period.
  for (let b = 1; b < BUCKETS; b++) {
    const ratio = BUCKET_STEPS[b]! / period;
    const whole = Math.round(ratio);
    if (whole >= 1 && Math.abs(ratio - whole) < WHOLE) skipped |= 1 << b;
  }
  return skipped;
}

/** Fills `left`, `right` and `share` for a horizon; `skipped` is the caller's. */
export function between(ahead: number, into: Between): void {
  let left = 0;
  let right = -1;
  for (let b = 1; b < BUCKETS; b++) {
    if ((into.skipped >> b) & 1) continue;
    if (BUCKET_STEPS[b]! > ahead) {
      right = b;
      break;
    }
    left = b;
  }
  into.left = left;
  if (right < 0 || ahead <= 1) {
    into.right = right < 0 ? left : right;
    into.share = 0;
    return;
  }
  into.right = right;
  into.share = (Math.log(ahead) - LOGS[left]!) / (LOGS[right]! - LOGS[left]!);
}

const LOGS = BUCKET_STEPS.map(Math.log);

/** Places of many horizons. Most rows are asked for the same ones, so those found last are kept. */
export class Places {
  left = new Uint8Array(0);
  right = new Uint8Array(0);
  share = new Float64Array(0);
  #horizons = new Float64Array(0);
  #count = -1;
  readonly #one: Between = { left: 0, right: 0, share: 0, skipped: 0 };

  find(horizons: ArrayLike<number>, count: number, skipped: number): void {
    const known = this.#horizons;
    let same = count === this.#count && skipped === this.#one.skipped;
    for (let h = 0; same && h < count; h++) same = horizons[h] === known[h];
    if (same) return;
    if (known.length < count) {
      this.left = new Uint8Array(count);
      this.right = new Uint8Array(count);
      this.share = new Float64Array(count);
      this.#horizons = new Float64Array(count);
    }
    this.#count = count;
    this.#one.skipped = skipped;
    for (let h = 0; h < count; h++) {
      this.#horizons[h] = horizons[h]!;
      between(horizons[h]!, this.#one);
      this.left[h] = this.#one.left;
      this.right[h] = this.#one.right;
      this.share[h] = this.#one.share;
    }
  }
}
