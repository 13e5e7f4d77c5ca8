/**
 * The full path of a series and metric on one core: a value in, 12 horizons x 3 quantiles out; and what a series costs
 * in memory.
 *
 *   node --conditions=skein-source bench/forecast-speed.ts [--series 20000] [--steps 400] [--slots 2] [--json]
 *
 * Every series gets one value and gives one forecast a step. Loads have a day, noise and bursts; a fifth of them is
 * zero most of the time. The first half of the steps warms up and is not counted. Bars: 150,000 series-metrics/s, and
 * 1 GB for 500,000 of them.
 */
import { parseArgs } from 'node:util';
import { SeriesBank } from '../src/forecast/index.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    series: { type: 'string', default: '20000' },
    steps: { type: 'string', default: '400' },
    slots: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const series = Number(values.series);
const steps = Number(values.steps);
const horizons = [1, 2, 3, 5, 8, 15, 30, 60, 120, 240, 480, 1440];
const bank = new SeriesBank({ stepS: 60, slots: Number(values.slots), windows: [15, 60], regression: false });
const rows = Array.from({ length: series }, () => bank.add());
const out = new Float64Array(3 * horizons.length);
let seed = 1;
/** CPU time, not wall clock: other work on the machine is no part of it. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
const random = () => {
  seed = (seed * 16_807) % 2_147_483_647;
  return seed / 2_147_483_647;
};
let observeMs = 0;
let forecastMs = 0;
let checksum = 0;
for (let step = 0; step < steps; step++) {
  const loads = rows.map((row) => {
    const wave = 1 + 0.5 * Math.sin((2 * Math.PI * step) / 1440 + row);
    if (row % 5 === 0 && random() < 0.9) return 0;
    return (1 + (row % 97)) * wave * (0.8 + 0.4 * random()) * (random() < 0.01 ? 5 : 1);
  });
  const counted = step >= steps / 2;
  const startMs = cpuMs();
  for (let i = 0; i < series; i++) bank.observe(rows[i]!, loads[i]!);
  const betweenMs = cpuMs();
  for (let i = 0; i < series; i++) {
    bank.forecast(rows[i]!, horizons, out);
    checksum += out[35]!;
  }
  if (!counted) continue;
  observeMs += betweenMs - startMs;
  forecastMs += cpuMs() - betweenMs;
}
const done = series * Math.floor(steps / 2);
const found = {
  machine,
  series,
  steps,
  slots: Number(values.slots),
  seriesMetricsPerSecond: Math.round((done / (observeMs + forecastMs)) * 1000),
  observeMicros: (1000 * observeMs) / done,
  forecastMicros: (1000 * forecastMs) / done,
  bytesPerSeries: Math.round(bank.bytes / series),
  historyBytes: bank.layout.ringValues.reduce((sum, count) => sum + 2 * count, 0),
  checksum,
};
if (values.json) process.stdout.write(`${JSON.stringify(found)}\n`);
else
  process.stdout.write(
    `${formatMachine(machine)}\n${series} series, ${steps} steps, ${found.slots} answers in flight a horizon\n` +
      `${found.seriesMetricsPerSecond} series-metrics/s (observe ${found.observeMicros.toFixed(1)} us, forecast ${found.forecastMicros.toFixed(1)} us)\n` +
      `${found.bytesPerSeries} bytes a series and metric, ${found.historyBytes} of them history; 500,000 take ${((found.bytesPerSeries * 5e5) / 1e9).toFixed(2)} GB\n`,
  );
