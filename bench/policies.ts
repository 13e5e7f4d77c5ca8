/**
 * Policies on the real local cluster under the demo's load: what foreseeing is worth, and how much of what could be
 * gained at all.
 *
 *   node --conditions=skein-source bench/policies.ts [--seconds 360] [--day 30] [--alphas 0.1,1,10]
 *     [--policies static,bestFixed,reactive,predictive,oracle] [--seed 1] [--rate 300] [--json]
 *
 * Scored from the fourth day. `reactive` has the same planner and headroom; its smoothing is the best of
 * `bench/loop.ts --tune` on another seed. `bestFixed` learns for two days, places once and then stays.
 * bench/loop.ts is the same comparison in virtual time, minutes instead of hours.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type PolicyFigures, policyFigures, scoredFromMs } from '../examples/demo/report.ts';
import { runOnce } from '../examples/demo/run-once.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '360' },
    day: { type: 'string', default: '30' },
    alphas: { type: 'string', default: '0.1,1,10' },
    policies: { type: 'string', default: 'static,bestFixed,reactive,predictive,oracle' },
    seed: { type: 'string', default: '1' },
    rate: { type: 'string', default: '300' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const dayS = Number(values.day);
const ratePerSecond = Number(values.rate);
const data = mkdtempSync(join(tmpdir(), 'skein-policies-'));

interface Row extends PolicyFigures {
  alpha: number;
  policy: string;
  /** Median time of a move over the day. */
  leadTimeShareOfDay: number;
  rolledBack: number;
}

async function measure(policy: string, alpha: number): Promise<Row> {
  const run = await runOnce({
    seed: values.seed,
    nodes: 6,
    ratePerSecond,
    dayS,
    alpha,
    policy,
    dataDirectory: data,
    httpPort: 0,
    apiPort: 0,
    stepMs: 1_000,
    forS: Number(values.seconds),
    title: `${policy}, alpha ${alpha}`,
    scoredFromS: scoredFromMs(dayS) / 1000,
    signal: new AbortController().signal,
  });
  await run.cluster.stop();
  const tookMs = run.migrations
    .filter(({ outcome }) => outcome === 'completed')
    .map(({ startedAtMs, endedAtMs }) => (endedAtMs ?? startedAtMs) - startedAtMs)
    .sort((a, b) => a - b);
  return {
    alpha,
    policy,
    ...policyFigures(run, dayS),
    leadTimeShareOfDay: (tookMs[tookMs.length >> 1] ?? 0) / (dayS * 1000),
    rolledBack: run.migrations.filter(({ outcome }) => outcome === 'rolledBack').length,
  };
}

const rows: Row[] = [];
try {
  for (const alpha of values.alphas.split(',').map(Number)) {
    for (const policy of values.policies.split(',')) rows.push(await measure(policy, alpha));
  }
} finally {
  rmSync(data, { recursive: true, force: true });
}

if (values.json)
  console.log(JSON.stringify({ machine, seconds: Number(values.seconds), dayS, rows }, null, 2));
else {
  console.log(formatMachine(machine));
  console.log(
    '| alpha | policy | mean ms | p50 | p99 | over 100 ms | failed | moves | lead time, share of a day |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|');
  for (const row of rows) {
    const { mean, p50, p99 } = row.latencyMs;
    console.log(
      `| ${row.alpha} | ${row.policy} | ${mean.toFixed(1)} | ${p50.toFixed(1)} | ${p99.toFixed(0)} | ${(100 * row.over100MsShare).toFixed(1)} % | ${row.failed} | ${row.moves} | ${(100 * row.leadTimeShareOfDay).toFixed(1)} % |`,
    );
  }
  for (const [alpha, group] of Map.groupBy(rows, (row) => row.alpha)) {
    const mean = (policy: string) => group.find((row) => row.policy === policy)?.latencyMs.mean ?? Number.NaN;
    const closed = (mean('reactive') - mean('predictive')) / (mean('reactive') - mean('oracle'));
    if (Number.isFinite(closed))
      console.log(
        `alpha ${alpha}: predictive closes ${(100 * closed).toFixed(0)} % of the reactive-to-oracle gap`,
      );
  }
}
