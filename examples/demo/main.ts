/**
 * The demo: one policy until Ctrl-C or `--for`, or with `--report` a comparison of two policies and an audit.
 * `skein dev` parses its flags and calls {@link runDemo}.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type AuditResult, addAudits } from './acknowledgements.ts';
import { killAndAudit } from './audit.ts';
import { REGIONS_DEFAULT } from './load-formula.ts';
import { auditIsClean, makeReport, SCORED_FROM_DAY, type ScoredRun, scoredFromMs } from './report.ts';
import { type DemoOptions, type RunResult, runOnce } from './run-once.ts';

export type { DemoOptions } from './run-once.ts';

/** Returns the exit status. `signal` aborts it: everything is stopped in order, and no process is left. */
export async function runDemo(
  options: DemoOptions & { report?: string },
  signal: AbortSignal,
): Promise<number> {
  try {
    if (options.report !== undefined) return await compare({ ...options, report: options.report }, signal);
    const { cluster, done } = await runOnce({
      ...options,
      forS: options.forS ?? Number.POSITIVE_INFINITY,
      title: options.policy,
      scoredFromS: 0,
      signal,
    });
    await cluster.stop();
    say(`${done.requests} requests, ${done.failed} failed, ${done.acknowledged} commands acknowledged`);
    for (const failure of done.failures.slice(0, 5)) say(`  ${failure}`);
    return done.failed === 0 ? 0 : 1;
  } catch (error) {
    if (!signal.aborted) throw error;
    say('stopped; no process is left');
    return 0;
  }
}

/** The same seeded load under `static`, then under `predictive`; both are killed and audited. */
async function compare(options: DemoOptions & { report: string }, signal: AbortSignal): Promise<number> {
  const { forS, dayS } = options;
  if (forS === undefined) throw new RangeError('--report needs --for: a comparison ends by itself');
  if (forS <= SCORED_FROM_DAY * dayS) {
    throw new RangeError(
      `--for ${forS}s is over before the fourth day begins: figures count from then on, so give more than ${SCORED_FROM_DAY * dayS}s or a shorter --day`,
    );
  }
  const runs: ScoredRun[] = [];
  let audit: AuditResult = { acknowledged: 0, lost: 0, duplicated: 0 };
  for (const [i, policy] of ['static', 'predictive'].entries()) {
    signal.throwIfAborted();
    say(`run ${i + 1} of 2: ${policy}, ${forS} s`);
    const run = await runOnce({
      ...options,
      policy,
      forS,
      title: `${policy} (run ${i + 1} of 2)`,
      scoredFromS: scoredFromMs(dayS) / 1000,
      signal,
    });
    // One run after the other, and each killed before the next starts: they share the machine.
    audit = addAudits(audit, await auditOf(run, options.nodes));
    runs.push(run);
    for (const failure of run.done.failures.slice(0, 5)) say(`  failed: ${failure}`);
  }
  const [staticRun, predictiveRun] = runs as [ScoredRun, ScoredRun];
  const report = makeReport({ dayS, staticRun, predictiveRun, audit, regions: REGIONS_DEFAULT });
  const file = resolve(options.report);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  const { latencyMs: before, over100MsShare: slowBefore } = report.static;
  const { latencyMs: after, over100MsShare: slowAfter } = report.predictive;
  say(`mean latency ${before.mean} ms -> ${after.mean} ms (${change(before.mean, after.mean)})`);
  say(`requests over 100 ms ${slowBefore} -> ${slowAfter} (${change(slowBefore, slowAfter)})`);
  say(`migrations: ${report.migrations.completed} completed, ${report.migrations.rolledBack} rolled back`);
  const { acknowledged, lost, duplicated, failedRequests } = report.audit;
  say(
    `audit: ${acknowledged} acknowledged, ${lost} lost, ${duplicated} duplicated, ${failedRequests} failed`,
  );
  say(`report: ${file}`);
  return auditIsClean(report) ? 0 : 1;
}

async function auditOf(run: RunResult, nodes: number): Promise<AuditResult> {
  try {
    return await killAndAudit(run.cluster, {
      nodes,
      acknowledged: run.acknowledged,
      acknowledgedCount: run.done.acknowledged,
      onProgress: (text) => say(`audit of ${run.policy}: ${text}`),
    });
  } catch (error) {
    await run.cluster.killAll().catch(() => {});
    throw error;
  }
}

function change(before: number, after: number): string {
  if (before === 0) return 'from nothing';
  const percent = Math.round((after / before - 1) * 1000) / 10;
  return `${percent > 0 ? '+' : ''}${percent} %`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Where a demo keeps its files when nobody says. */
export function defaultDataDirectory(): string {
  return join('.skein', 'demo');
}
