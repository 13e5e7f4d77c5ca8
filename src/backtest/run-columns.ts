/** What the report says of a run, column by column: the same on the page and in the terminal. Pure. */
import type { RunResult } from './model.ts';

export interface RunColumn {
  name: string;
  of: (run: RunResult) => string;
}

const usd = (value: number) => value.toFixed(2);
const perHour = (count: number, { scoredS }: RunResult) => ((count * 3600) / Math.max(1, scoredS)).toFixed(1);

export const RUN_COLUMNS: readonly RunColumn[] = [
  { name: 'policy', of: (run) => run.policy },
  { name: 'headroom', of: (run) => String(run.headroom) },
  { name: '$', of: (run) => usd(run.usd.total) },
  { name: '$ nodes', of: (run) => usd(run.usd.nodes) },
  { name: '$ egress', of: (run) => usd(run.usd.egress) },
  { name: '$ moves', of: (run) => usd(run.usd.moves) },
  { name: 'min over', of: (run) => run.minutesOver.toFixed(1) },
  { name: 'p50 ms', of: (run) => run.latencyMs.p50.toFixed(0) },
  { name: 'p99 ms', of: (run) => run.latencyMs.p99.toFixed(0) },
  { name: 'moves/h', of: (run) => perHour(run.moves, run) },
  { name: 'promotions/h', of: (run) => perHour(run.promotions, run) },
  { name: 'GB moved', of: (run) => (run.bytesMoved / 1e9).toFixed(0) },
  { name: 'GB copied', of: (run) => (run.bytesCopied / 1e9).toFixed(0) },
  { name: 'back in 1 h', of: (run) => String(run.pingPong) },
  { name: 'nodes', of: (run) => run.nodesMean.toFixed(1) },
  {
    name: 'gap',
    of: ({ certifiedGap }) =>
      certifiedGap === undefined ? '-' : `${(100 * certifiedGap.median).toFixed(1)} %`,
  },
];
