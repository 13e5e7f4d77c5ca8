/**
 * How far the controller's forecasts are off on the demonstration's load, by day and by seconds ahead.
 *
 * Errors are mean absolute ones as shares of the truth: of each origin's total, and summed over single shards.
 *
 * Run: node --conditions=skein-source bench/forecast-demo.ts [--seeds a,b] [--keys 2000] [--day 30] [--days 8] [--network]
 *   [--handlers 0] [--json]; with handlers their mix is told, half the requests of each to the one before it
 */
import { parseArgs } from 'node:util';
import { engineForecaster, type LoadStep, networkExpert } from '../src/forecast/index.ts';
import type { HandlerLoad } from '../src/model/load.ts';
import { DemoLoad } from '../test/scenarios/demo-load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: 'q1,q2' },
    keys: { type: 'string', default: '2000' },
    day: { type: 'string', default: '30' },
    days: { type: 'string', default: '8' },
    network: { type: 'boolean', default: false },
    handlers: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
  },
});
const AHEAD_S = [2, 4, 8, 16];
/** Every third step is asked about. */
const ASK_EVERY = 3;

const report: { seed: string; day: number; aheadS: number; origins: number; shards: number }[] = [];
let observeMs = 0;
let forecastMs = 0;
let observed = 0;
let asked = 0;
for (const seed of values.seeds.split(',')) {
  const dayS = Number(values.day);
  const load = new DemoLoad({
    seed,
    keys: Number(values.keys),
    dayS,
    requestsPerSecond: 400,
    crowdsPerDay: 1,
  });
  const engine = engineForecaster({ experts: values.network ? [networkExpert()] : [] });
  const sums = new Map<string, { origins: number; shards: number; truth: number }>();
  for (let number = 1; number <= Number(values.days) * dayS; number++) {
    const step = load.step(number);
    if (Number(values.handlers) > 0) step.mix = mixOf(step, Number(values.handlers));
    let startedMs = cpuMs();
    engine.observe(step);
    observeMs += cpuMs() - startedMs;
    observed++;
    if (number % ASK_EVERY !== 0) continue;
    startedMs = cpuMs();
    const forecasts = engine.forecast(load.ids, AHEAD_S);
    forecastMs += cpuMs() - startedMs;
    asked++;
    const day = 1 + Math.floor((number - 1) / dayS);
    AHEAD_S.forEach((aheadS, h) => {
      const key = `${day}/${aheadS}`;
      const sum = sums.get(key) ?? { origins: 0, shards: 0, truth: 0 };
      sums.set(key, sum);
      load.regions.forEach((region, origin) => {
        let total = 0;
        forecasts.forEach((forecast, shard) => {
          const by = forecast.byOrigin[region];
          const rate = (by?.commands[h] ?? 0) + (by?.queries[h] ?? 0);
          total += rate;
          sum.shards += Math.abs(rate - load.rate(shard, origin, number + aheadS));
        });
        const truth = load.originRate(origin, number + aheadS);
        sum.origins += Math.abs(total - truth);
        sum.truth += truth;
      });
    });
  }
  for (const [key, { origins, shards, truth }] of sums) {
    const [day, aheadS] = key.split('/').map(Number) as [number, number];
    report.push({ seed, day, aheadS, origins: origins / truth, shards: shards / truth });
  }
}

if (values.json) console.log(JSON.stringify(report));
else {
  console.log(formatMachine(machineFacts()));
  for (const { seed, day, aheadS, origins, shards } of report)
    console.log(
      `seed ${seed} day ${day} ${String(aheadS).padStart(2)} s ahead: origins ${percent(origins)} off, shards ${percent(shards)}`,
    );
  console.log(
    `CPU: ${(observeMs / observed).toFixed(1)} ms to observe a step, ${(forecastMs / asked).toFixed(1)} ms to forecast all shards`,
  );
}

/** All costs alike: what is measured is the time it takes. */
function mixOf({ shards }: LoadStep, handlers: number): HandlerLoad[] {
  let requests = 0;
  for (const { commands, queries } of shards) requests += commands + queries;
  return Array.from({ length: handlers }, (_, i) => {
    const asked = requests / 2 ** (i + 1);
    const costs = {
      cpuSeconds: asked / 3000,
      bytesIn: 200 * asked,
      bytesOut: 400 * asked,
      writeBytes: 30 * asked,
    };
    return { service: 'room', handler: `h${i}`, requests: asked, commands: 0, ...costs };
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0).padStart(3)} %`;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
