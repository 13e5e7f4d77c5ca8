/**
 * Many seeds of the simulated world: what the test does for three hundred, as long as one likes.
 *
 *   node --conditions=skein-source bench/simulation.ts [--from 1] [--count 1000] [--workers 2] [--faults a,b] [--json]
 *   node --conditions=skein-source bench/simulation.ts --seed 7 [--keep-faults 3,9] [--keep-clients us-east-1-u0]
 *     [--keep-operations 40] [--trace] [--shrink]
 *
 * A failing seed is told as it is found, with the command that runs it again (`--shrink` makes it small first). Ctrl-C
 * ends after the seeds under way, with the summary of what was run and the command that goes on; a second one at once.
 * Exit status 1 where a seed fails, 130 where it was ended.
 */

import { on } from 'node:events';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { FAULT_NAMES, type FaultName, formatFault } from '../src/sim/schedule.ts';
import { shrinkTally } from '../src/sim/shrink.ts';
import { type Kept, type SimulationReport, simulateTally } from '../src/sim/simulate.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

/** What travels back from a worker: the report without its trace and schedule, which are large. */
type Result = Omit<SimulationReport, 'trace' | 'schedule' | 'clients'>;
interface Job {
  faultNames: FaultName[] | undefined;
}

/** The rate is that of so many of the last seeds: the load of the machine changes within hours. */
const RATE_SEEDS = 200;

// Most errors of a run are expected and read by nobody: their stacks cost more than all else about them.
Error.stackTraceLimit = 0;
if (isMainThread) await main();
else await work(workerData as Job);

/** A worker runs the seeds it is sent, one at a time. */
async function work({ faultNames }: Job): Promise<void> {
  for await (const [seed] of on(parentPort!, 'message')) {
    const { trace: _, schedule: __, clients: ___, ...result } = await simulateTally({ seed, faultNames });
    parentPort!.postMessage(result satisfies Result);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      from: { type: 'string', default: '1' },
      count: { type: 'string', default: '1000' },
      workers: { type: 'string', default: '1' },
      faults: { type: 'string' },
      json: { type: 'boolean', default: false },
      seed: { type: 'string' },
      'keep-faults': { type: 'string' },
      'keep-clients': { type: 'string' },
      'keep-operations': { type: 'string' },
      trace: { type: 'boolean', default: false },
      shrink: { type: 'boolean', default: false },
    },
  });
  const faultNames = values.faults?.split(',').map((name) => {
    const known = FAULT_NAMES.find((one) => one === name.trim());
    if (!known) throw new Error(`there is no fault "${name}"; there are: ${FAULT_NAMES.join(', ')}`);
    return known;
  });
  if (values.seed !== undefined) {
    const keep: Kept = {
      ...(values['keep-faults'] !== undefined && { faults: numbers(values['keep-faults']) }),
      ...(values['keep-clients'] !== undefined && { clients: values['keep-clients'].split(',') }),
      ...(values['keep-operations'] !== undefined && { operations: Number(values['keep-operations']) }),
    };
    await one({ seed: values.seed, faultNames, keep }, values.trace, values.shrink);
  } else
    await many(Number(values.from), Number(values.count), Number(values.workers), faultNames, values.json);
}

const numbers = (text: string) => (text === '' ? [] : text.split(',').map(Number));

async function one(
  options: { seed: string; faultNames: FaultName[] | undefined; keep: Kept },
  trace: boolean,
  shrink: boolean,
): Promise<void> {
  Error.stackTraceLimit = 10;
  const log = (process: string, level: string, fields: object, message: string) => {
    if (trace) console.log(`    ${process} ${level} ${message} ${JSON.stringify(fields)}`);
  };
  let report = await simulateTally({ ...options, onLog: log });
  if (shrink && report.violations.length > 0) {
    const small = await shrinkTally(options, report, (text) => console.error(text));
    report = small.report;
    console.log(`again: ${small.command}`);
  }
  const { faults: kept } = options.keep;
  for (const fault of report.schedule)
    if (!kept || kept.includes(fault.number)) console.log(formatFault(fault));
  if (trace || shrink) console.log(report.trace.join('\n'));
  console.log(
    `seed ${report.seed}: ${report.requests} requests, ${report.acknowledged} acknowledged, ${report.migrations.completed} migrations, ${report.violations.length} violations`,
  );
  for (const { rule, text } of report.violations) console.log(`  ${rule}: ${text}`);
  process.exitCode = report.violations.length > 0 ? 1 : 0;
}

async function many(
  from: number,
  count: number,
  workers: number,
  faultNames: FaultName[] | undefined,
  json: boolean,
): Promise<void> {
  const machine = machineFacts();
  const total = {
    seeds: 0,
    requests: 0,
    acknowledged: 0,
    stale: 0,
    failed: 0,
    completed: 0,
    rolledBack: 0,
    virtualHours: 0,
  };
  const faults: Record<string, number> = {};
  const failing: { seed: string; violations: string[] }[] = [];
  const startMs = performance.now();
  const endedMs: number[] = [];
  let saidMs = startMs;
  let next = from;
  let stopping = false;
  const fails = (seed: string, violations: string[]) => {
    failing.push({ seed, violations });
    console.error(`seed ${seed}: ${violations.slice(0, 4).join('\n  ')}`);
    console.error(`  again: node --conditions=skein-source bench/simulation.ts --seed ${seed} --shrink`);
  };
  const take = (result: Result) => {
    total.requests += result.requests;
    total.acknowledged += result.acknowledged;
    total.stale += result.stale;
    total.failed += result.failed;
    total.completed += result.migrations.completed;
    total.rolledBack += result.migrations.rolledBack;
    total.virtualHours += result.virtualMs / 3_600_000;
    for (const [fault, struck] of Object.entries(result.faults))
      faults[fault] = (faults[fault] ?? 0) + struck;
    if (result.violations.length > 0)
      fails(
        result.seed,
        result.violations.map(({ rule, text }) => `${rule}: ${text}`),
      );
  };
  const ended = () => {
    total.seeds++;
    const nowMs = performance.now();
    endedMs.push(nowMs);
    if (endedMs.length > RATE_SEEDS) endedMs.shift();
    if (nowMs - saidMs < (process.stderr.isTTY ? 500 : 30_000)) return;
    saidMs = nowMs;
    const perS = (endedMs.length * 1_000) / (nowMs - (total.seeds > RATE_SEEDS ? endedMs[0]! : startMs));
    const leftMin = (count - total.seeds) / perS / 60;
    console.error(
      `${total.seeds} of ${count} seeds, ${failing.length} failing, ${perS.toFixed(1)} seeds/s, ${leftMin.toFixed(0)} minutes left`,
    );
  };
  /** Resolves when there is no seed left for it. */
  const employ = (): Promise<void> =>
    new Promise((resolve) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { faultNames } satisfies Job });
      let seed = next;
      const give = () => {
        if (stopping || next >= from + count) {
          void worker.terminate();
          resolve();
          return;
        }
        seed = next++;
        worker.postMessage(seed);
      };
      worker.on('message', (result: Result) => {
        take(result);
        ended();
        give();
      });
      // A run that ends its whole thread is a failing seed like any other, and the others go on.
      worker.on('error', (error) => {
        fails(String(seed), [`ended its thread: ${error instanceof Error ? error.stack : String(error)}`]);
        ended();
        resolve(employ());
      });
      give();
    });
  const stop = () => {
    if (stopping) process.exit(130);
    stopping = true;
    console.error('ending after the seeds under way; once more: at once');
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  await Promise.all(Array.from({ length: Math.min(workers, count) }, employ));
  process.off('SIGINT', stop).off('SIGTERM', stop);
  const tookS = (performance.now() - startMs) / 1000;
  if (json) console.log(JSON.stringify({ machine, workers, ...total, faults, failing, tookS }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log(
      `${total.seeds} seeds (from ${from}) with ${workers} workers in ${tookS.toFixed(0)} s: ${total.virtualHours.toFixed(1)} virtual hours, ${total.requests} requests, ${total.acknowledged} acknowledged, ${total.stale} of them answers that standbys gave late with leave, ${total.completed} migrations completed, ${total.rolledBack} rolled back, ${failing.length} seeds with violations`,
    );
    console.log(
      `faults: ${Object.entries(faults)
        .sort()
        .map(([fault, struck]) => `${fault} ${struck}`)
        .join(', ')}`,
    );
  }
  const left = count - total.seeds;
  if (left > 0)
    console.error(
      `ended early; the rest: node --conditions=skein-source bench/simulation.ts --from ${next} --count ${left} --workers ${workers}`,
    );
  process.exitCode = failing.length > 0 ? 1 : left > 0 ? 130 : 0;
}
