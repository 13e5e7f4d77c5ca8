/**
 * Many seeds of the simulated world, one after another: what the test does for twenty, as long as one likes.
 *
 *   node --conditions=skein-source bench/simulation.ts [--from 1] [--count 1000] [--json]
 *
 * Exit status 1 with the first failing seeds and the command that runs one again.
 */
import { parseArgs } from 'node:util';
import { simulate } from '../src/sim/simulate.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const from = Number(values.from);
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
for (let seed = from; seed < from + Number(values.count); seed++) {
  const report = await simulate({ seed: String(seed) });
  total.seeds++;
  total.requests += report.requests;
  total.acknowledged += report.acknowledged;
  total.stale += report.stale;
  total.failed += report.failed;
  total.completed += report.migrations.completed;
  total.rolledBack += report.migrations.rolledBack;
  total.virtualHours += report.virtualMs / 3_600_000;
  for (const [fault, count] of Object.entries(report.faults)) faults[fault] = (faults[fault] ?? 0) + count;
  if (report.violations.length > 0) {
    failing.push({
      seed: report.seed,
      violations: report.violations.map(({ rule, text }) => `${rule}: ${text}`),
    });
    console.error(`seed ${seed}: ${failing.at(-1)!.violations.join('\n  ')}`);
    console.error(`  again: SKEIN_SEED=${seed} SKEIN_TRACE=1 npx vitest run test/simulation`);
  }
  if (process.stderr.isTTY)
    process.stderr.write(`\r${total.seeds} of ${values.count} seeds, ${failing.length} failing `);
}
const tookS = (performance.now() - startMs) / 1000;
if (values.json) console.log(JSON.stringify({ machine, ...total, faults, failing, tookS }, null, 2));
else {
  console.log(`\n${formatMachine(machine)}`);
  console.log(
    `${total.seeds} seeds in ${tookS.toFixed(0)} s: ${total.virtualHours.toFixed(1)} virtual hours, ${total.requests} requests, ${total.acknowledged} acknowledged, ${total.stale} of them answers that standbys gave late with leave, ${total.completed} migrations completed, ${total.rolledBack} rolled back, ${failing.length} seeds with violations`,
  );
  console.log(
    `faults: ${Object.entries(faults)
      .map(([fault, count]) => `${fault} ${count}`)
      .join(', ')}`,
  );
}
process.exitCode = failing.length > 0 ? 1 : 0;
