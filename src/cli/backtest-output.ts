/** What `skein backtest` prints: verdict, a plot of frontiers, the table. Pure. */
import {
  frontier,
  type Interval,
  POLICY_TEXT,
  type Report,
  RUN_COLUMNS,
  type RunResult,
  type Scenario,
  standbyNote,
} from '../backtest/index.ts';
import { scatter } from './chart.ts';
import { duration, table } from './table.ts';

const CHART_HEIGHT = 16;
/** One letter a policy in the plot. */
const LETTERS: Record<string, string> = {
  hash: 'x',
  static: 's',
  bestFixed: 'f',
  hpa: 'h',
  threshold: 't',
  latencyGreedy: 'g',
  lastValue: 'l',
  reactive: 'R',
  seasonalNaive: 'y',
  predictive: 'P',
  oracle: 'O',
};

export function listText(scenarios: readonly Scenario[]): string {
  return table(
    ['SCENARIO', 'LOAD', 'EXPECTED'],
    scenarios.map((one) => [
      one.name,
      `${one.text}${one.trace ? ' (real trace: give --traces)' : ''}`,
      one.expected,
    ]),
  );
}

export function reportText(report: Report, page?: string): string {
  const { scenario, seeds } = report;
  const first = seeds[0]!;
  const facts = `${scenario.name}: ${scenario.text}\n${report.shards} ${report.shards === 1 ? 'shard' : 'shards'}, ${report.scoredDays.toFixed(1)} days scored in steps of ${duration(report.stepS * 1000)}, ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}; a new node has its shards about ${duration(report.leadS * 1000)} after it is asked for\n`;
  const verdict = report.verdict.text.map((line) => `  ${line}\n`).join('');
  const [from, to] = first.usd;
  const policies = [...new Set(first.runs.map((run) => run.policy))];
  const letters = policies.map((policy) => `${LETTERS[policy]} ${policy}`).join('  ');
  const plot = scatter({
    points: policies.flatMap((policy) =>
      frontier(first.runs.filter((run) => run.policy === policy)).map((point) => ({
        x: point.usd,
        y: point.minutesOver,
        mark: LETTERS[policy]!,
      })),
    ),
    width: Math.min(process.stdout.columns ?? 100, 120),
    height: CHART_HEIGHT,
  });
  return `${facts}\n${verdict}\nMinutes over the objective (up, root scale) for dollars (right); compared from $${from.toFixed(2)} to $${to.toFixed(2)}; seed 1\n${letters}\n${plot}\nMean over these dollars and all seeds\n${summary(report)}\nEvery run of seed 1\n${runsTable(first.runs)}${standbyNote(report)}\n${page ? `\nthe page with plots is ${page}\n` : ''}`;
}

function summary(report: Report): string {
  const policies = [...new Set(report.seeds[0]!.runs.map((run) => run.policy))];
  return table(
    ['POLICY', 'MINUTES OVER', 'WHAT IT IS'],
    policies.map((policy) => {
      const values = report.seeds.flatMap((seed) => seed.minutes[policy] ?? []);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      return [
        policy,
        values.length === report.seeds.length ? mean.toFixed(1) : 'not so cheap',
        POLICY_TEXT[policy],
      ];
    }),
  );
}

function runsTable(runs: readonly RunResult[]): string {
  return table(
    RUN_COLUMNS.map(({ name }) => name.toUpperCase()),
    runs.map((run) => RUN_COLUMNS.map(({ of }) => of(run))),
  );
}

/** `54 % ± 6`. */
export function intervalText(interval: Interval | undefined): string {
  if (interval === undefined) return '-';
  const half = Number.isNaN(interval.half) ? '' : ` ± ${(100 * interval.half).toFixed(0)}`;
  return `${(100 * interval.mean).toFixed(0)} %${half}`;
}
