/** A row in another unit: what a shard grew to, or a first value that was no measure, becomes the new scale. Rare. */
import { decode, encode, MISSING } from './codes.ts';
import { BUCKETS, F, KINDS, type Row } from './layout.ts';
import { LAGS, RESIDUAL_LAGS_AT, RESIDUAL_SIZE, RESIDUALS } from './residual.ts';

/** @param scale the new one, in the series' unit */
export function rescale(row: Row, scale: number): void {
  const { floats: x, f, codes, c, layout } = row;
  const factor = x[f + F.scale]! / scale;
  x[f + F.scale] = scale;
  for (let ring = 0; ring < layout.ringSteps.length - 1; ring++) x[f + F.ringSums + 2 * ring]! *= factor;
  for (let at = F.last; at <= F.lowest; at++) x[f + at]! *= factor;
  for (let b = 0; b < BUCKETS; b++) x[f + F.spread + b]! *= factor;
  for (let i = 0; i < 3 * KINDS * BUCKETS; i++) x[f + F.kindLoss + i]! *= factor;
  for (let i = 0; i < layout.experts * BUCKETS; i++) x[f + F.losses + i]! *= factor;
  layout.windowAt.forEach((at, w) => {
    for (let i = 0; i < 3 * layout.windowSlots[w]!; i++) x[f + at + 1 + i]! *= factor;
  });
  if (layout.residualAt >= 0)
    for (let kind = 0; kind < RESIDUALS; kind++) {
      const lags = f + layout.residualAt + kind * RESIDUAL_SIZE + RESIDUAL_LAGS_AT;
      for (let i = 0; i < LAGS; i++) x[lags + i]! *= factor;
    }
  // History and answers in flight; what comes after them are counts.
  for (let i = 0; i < layout.binsAt; i++) {
    const code = codes[c + i]!;
    if (code !== MISSING) codes[c + i] = encode(decode(code) * factor);
  }
}
