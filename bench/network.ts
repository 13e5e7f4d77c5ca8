/**
 * How many series a second the trained network forecasts, on one core: writing the rows, answering 12 horizons, in
 * WebAssembly, in plain JavaScript and in the native runtime, in the same run.
 *
 *   node --conditions=skein-source bench/network.ts [--series 4096] [--json]
 *
 * CPU time of the process, so that a busy machine does not show (the native session's thread counts too); best of five.
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { networkExpert } from '../src/forecast/network/expert.ts';
import { nativeNetworkExpert } from '../src/forecast/network/onnx.ts';

const { values: options } = parseArgs({
  options: { series: { type: 'string', default: '4096' }, json: { type: 'boolean', default: false } },
});
const SERIES = Number(options.series);
const HORIZONS = [1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440];
const ROUNDS = 5;
const STEPS = 6000;
const DAY = 288;

const load = Float64Array.from(
  { length: STEPS + SERIES },
  (_, t) => 100 + 60 * Math.sin((2 * Math.PI * t) / DAY) + ((t * 7919) % 23),
);

function measured(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    work();
    const used = process.cpuUsage(before);
    best = Math.min(best, (used.user + used.system) / 1e6);
  }
  return best;
}

const native = await nativeNetworkExpert({ horizonSteps: HORIZONS });
const experts = {
  wasm: networkExpert({ horizonSteps: HORIZONS }),
  native,
  plain: networkExpert({ horizonSteps: HORIZONS, runtime: 'plain' }),
};
const { contextSteps, featureWidth } = experts.wasm;
const contexts = new Float32Array(SERIES * contextSteps);
const features = new Float32Array(SERIES * featureWidth);
const out = new Float32Array(SERIES * HORIZONS.length * 4);

const writeS = measured(() => {
  for (let row = 0; row < SERIES; row++) {
    const newest = STEPS + row - 1;
    const at = (age: number) => load[newest - age]!;
    experts.wasm.write({ at, length: STEPS, stepS: 300, atS: 0 }, row, contexts, features);
  }
});
const perSeriesUs: Record<string, number> = { rows: (writeS / SERIES) * 1e6 };
for (const [name, expert] of Object.entries(experts)) {
  // Plain JavaScript is there for where nothing else is; a tenth of the series says enough.
  const count = name === 'plain' ? Math.ceil(SERIES / 10) : SERIES;
  perSeriesUs[name] = (measured(() => expert.forecast(contexts, features, count, out)) / count) * 1e6;
}
await native.close();
const result = {
  series: SERIES,
  horizons: HORIZONS.length,
  perSeriesUs,
  seriesPerSecond: Object.fromEntries(
    Object.keys(experts).map((name) => [name, Math.round(1e6 / (perSeriesUs.rows! + perSeriesUs[name]!))]),
  ),
  machine: {
    cpus: cpus().length,
    model: cpus()[0]?.model,
    node: process.version,
    load: loadavg().map((n) => +n.toFixed(1)),
  },
};
if (options.json) console.log(JSON.stringify(result, undefined, 2));
else {
  console.log(`${SERIES} series, ${HORIZONS.length} horizons, one core`);
  console.log(`rows       ${perSeriesUs.rows!.toFixed(1)} us a series`);
  for (const name of Object.keys(experts))
    console.log(
      `${name.padEnd(10)} ${perSeriesUs[name]!.toFixed(1)} us a series; with its rows ${result.seriesPerSecond[name]} series/s`,
    );
  console.log(`Node ${process.version}, ${result.machine.cpus} cores, load ${result.machine.load.join(' ')}`);
}
