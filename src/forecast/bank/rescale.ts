/** A row in another unit: what a shard grew to, or a first value that was no measure, becomes the new scale. Rare. */
import { fromHalf, MISSING, sizeOf, toHalf, toSize } from './halves.ts';
import { BUCKETS, C, F, type Row } from './layout.ts';
import { LAGS, RESIDUAL_LAGS_AT, RESIDUAL_SIZE, RESIDUALS } from './residual.ts';
import { scaleHistory } from './rings.ts';

/** @param scale the new one, in the series' unit */
export function rescale(row: Row, scale: number): void {
  const { floats: x, f, codes, c, layout } = row;
  const factor = x[f + F.scale]! / scale;
  x[f + F.scale] = scale;
  for (let at = F.last; at <= F.lowest; at++) x[f + at]! *= factor;
  for (let b = 0; b < BUCKETS; b++) x[f + F.spread + b]! *= factor;
  if (layout.residualAt >= 0)
    for (let kind = 0; kind < RESIDUALS; kind++) {
      const lags = f + layout.residualAt + kind * RESIDUAL_SIZE + RESIDUAL_LAGS_AT;
      for (let i = 0; i < LAGS; i++) x[lags + i]! *= factor;
    }
  // What comes before losses are counts, what comes after them answers in flight.
  const losses = c + C.losses + layout.experts * BUCKETS;
  for (let at = c + C.kindLoss; at < losses; at++) codes[at] = toSize(sizeOf(codes[at]!) * factor);
  for (let at = losses; at < c + layout.codes; at++)
    if (codes[at] !== MISSING) codes[at] = toHalf(fromHalf(codes[at]!) * factor);
  scaleHistory(row, factor);
}
