/**
 * The maximum over a window as a quantity of its own: how far above the path's highest point it came before, not the
 * highest of a quantile's path (which promises that every single step stays below, one by one, not all together).
 */
import { fromHalf, MISSING, toHalf } from './halves.ts';
import { addError, errorQuantiles, exponentialBins } from './histogram.ts';
import { BINS, F, QUANTILES, type Row, VALUE_BINS_AT } from './layout.ts';
import { TUNED } from './tuned.ts';

const LEVELS = Float64Array.from(QUANTILES);
const priors = new Map<number, Float64Array>();

/** How far above the path maxima usually come, in units of the spread: measured over the public series. */
function priorOf(window: number): Float64Array {
  let prior = priors.get(window);
  if (prior === undefined) {
    const size = Math.log(Math.max(2, window));
    prior = exponentialBins(0.3 * size - TUNED.windowLift, 0.75, 0.7 + 0.35 * size, TUNED.windowPrior);
    priors.set(window, prior);
  }
  return prior;
}

const found = new Float64Array(3);

/** Remembers what was said of each window, where a slot is free at this step. */
export function makeWindows(
  row: Row,
  path: (row: Row, window: number) => { base: number; spread: number },
): void {
  const { layout, codes, c } = row;
  const length = row.floats[row.f + F.length]! | 0;
  for (let w = 0; w < layout.windows.length; w++) {
    const stride = layout.windowStride[w]!;
    if (length % stride !== 0) continue;
    const at = c + layout.windowAt[w]! + (((length / stride) | 0) % layout.windowSlots[w]!) * 3;
    const { base, spread } = path(row, layout.windows[w]!);
    codes[at] = toHalf(base);
    codes[at + 1] = toHalf(spread);
    codes[at + 2] = MISSING;
  }
}

/** Follows the running maxima; where a window ends at this step, its error is learnt. Call before the step is pushed. */
export function settleWindows(row: Row, value: number): void {
  const { layout, codes, c } = row;
  const length = (row.floats[row.f + F.length]! | 0) + 1;
  for (let w = 0; w < layout.windows.length; w++) {
    const start = c + layout.windowAt[w]!;
    const slots = layout.windowSlots[w]!;
    for (let at = start + 2; at < start + 3 * slots; at += 3)
      if (!(value <= fromHalf(codes[at]!))) codes[at] = toHalf(value);
    const made = length - layout.windows[w]!;
    const stride = layout.windowStride[w]!;
    if (made < 1 || made % stride !== 0) continue;
    const at = start + (((made / stride) | 0) % slots) * 3;
    const spread = fromHalf(codes[at + 1]!);
    if (!(spread > 0)) continue;
    addError(
      row,
      row.b + VALUE_BINS_AT + (1 + w) * BINS,
      (fromHalf(codes[at + 2]!) - fromHalf(codes[at]!)) / spread,
      TUNED.bandMemory,
    );
  }
}

export function windowQuantiles(
  row: Row,
  window: number,
  base: number,
  spread: number,
  out: Float64Array,
): void {
  errorQuantiles(
    row,
    row.b + VALUE_BINS_AT + (1 + window) * BINS,
    priorOf(row.layout.windows[window]!),
    LEVELS,
    found,
    0,
  );
  for (let q = 0; q < 3; q++) out[q] = base + spread * found[q]!;
}
