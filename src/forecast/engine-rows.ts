/** The engine's series, which are made once the length of a step is known: of groups, hot shards, all together, and mixes. */
import type { BatchExpert } from './batch-expert.ts';
import { Groups } from './groups.ts';
import { HotShards } from './hot.ts';
import { HandlerMixes } from './mix.ts';
import { RowSeries, seriesBank } from './row-series.ts';

export interface Rows {
  groups: Groups;
  hot: HotShards;
  total: RowSeries;
  mixes: HandlerMixes;
}

/** @param factor what the share model answers for a shard, so many steps ahead: one more expert of a hot one */
export function makeRows(
  stepS: number,
  experts: readonly BatchExpert[],
  factor: (index: number, ahead: number) => number,
): Rows {
  const totals = seriesBank(stepS, { externals: ['sum-of-groups'], experts });
  const groups = new Groups(seriesBank(stepS, { maxima: true, experts }));
  totals.external = (_row, _expert, ahead) => groups.sum(ahead);
  return {
    groups,
    hot: new HotShards(stepS, factor, experts),
    total: new RowSeries(totals),
    mixes: new HandlerMixes(stepS),
  };
}
