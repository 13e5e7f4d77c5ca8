/**
 * The full path of a series and metric on one core and in one process: a value in, 12 horizons x 3 quantiles out; by the
 * experts alone, and with the trained network; and what rows cost in memory.
 *
 *   node --conditions=skein-source bench/forecast-speed.ts [--series 2000] [--steps 200] [--slots 2] [--runtimes wasm,native]
 *        [--memory 500000] [--json]
 *
 * Every series gets one value and gives one forecast a step. Loads have a day, noise and bursts; a fifth of them is zero
 * most of the time. The first half of the steps warms up and is not counted. With the network, each forecast asks it at
 * all 12 horizons, and each series holds its answers against the truth every 20 steps, as `skein forecast run` does.
 * `--memory` makes so many rows, feeds each twice, and reads the process's resident memory. CPU time of the process, so
 * that other work on the machine is no part of it (what it does to caches is); the limit is given with each figure.
 */
import { parseArgs } from 'node:util';
import { SeriesBank } from '../src/forecast/bank/bank.ts';
import type { BatchExpert } from '../src/forecast/batch-expert.ts';
import { sinh } from '../src/forecast/powers.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    series: { type: 'string', default: '2000' },
    steps: { type: 'string', default: '200' },
    slots: { type: 'string', default: '2' },
    runtimes: { type: 'string', default: '' },
    memory: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
  },
});
const STEP_S = 60;
const HORIZONS = [1, 2, 3, 5, 8, 15, 30, 60, 120, 240, 480, 1440];
/** Steps ahead at which the network is held against the truth: those at which a bank keeps answers. */
const SCORED = [1, 4, 12, 30, 75, 200];
const SCORED_EVERY = 20;
const BATCH = 512;
/** What a second is to hold, by path; bytes that 500,000 rows may take. */
const LIMITS: Record<string, number> = { experts: 150_000, wasm: 10_000, native: 30_000 };
const MEMORY_LIMIT = 1e9;

const machine = machineFacts();
const series = Number(values.series);
const steps = Number(values.steps);

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** One step's loads. */
function loader(): (step: number, into: Float64Array) => void {
  let seed = 1;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  return (step, into) => {
    for (let i = 0; i < into.length; i++) {
      const wave = 1 + 0.5 * Math.sin((2 * Math.PI * step) / 1440 + i);
      const burst = random() < 0.01 ? 5 : 1;
      const noise = 0.8 + 0.4 * random();
      into[i] = i % 5 === 0 && random() < 0.9 ? 0 : (1 + (i % 97)) * wave * noise * burst;
    }
  };
}

interface Found {
  perSecond: number;
  limit: number;
  observeMicros: number;
  forecastMicros: number;
  checksum: number;
}

function run(limit: number, expert?: BatchExpert): Found {
  const bank = new SeriesBank({
    ...{ stepS: STEP_S, slots: Number(values.slots), windows: [15, 60], regression: false },
    outside: expert === undefined ? 0 : 1,
  });
  const rows = Array.from({ length: series }, () => bank.add());
  const load = loader();
  const loads = new Float64Array(series);
  const out = new Float64Array(3 * HORIZONS.length);
  const asked = expert && new Asked(bank, expert, HORIZONS);
  const scored = expert && new Asked(bank, expert, SCORED);
  let step = 0;
  let answering = false;
  if (asked !== undefined && scored !== undefined)
    bank.outside = (row, _expert, ahead, into) => {
      if (answering) return asked.read(row, ahead, into);
      if ((step + row) % SCORED_EVERY !== 0) return false;
      if (ahead === SCORED[0]) scored.ask([row]);
      return scored.read(row, ahead, into);
    };
  let observeMs = 0;
  let forecastMs = 0;
  let checksum = 0;
  for (; step < steps; step++) {
    load(step, loads);
    const startMs = cpuMs();
    answering = false;
    for (let i = 0; i < series; i++) bank.observe(rows[i]!, loads[i]!);
    const betweenMs = cpuMs();
    answering = true;
    for (let from = 0; from < series; from += BATCH) {
      const part = rows.slice(from, from + BATCH);
      asked?.ask(part);
      for (const row of part) {
        bank.forecast(row, HORIZONS, out);
        checksum += out[35]!;
      }
    }
    if (step < steps / 2) continue;
    observeMs += betweenMs - startMs;
    forecastMs += cpuMs() - betweenMs;
  }
  const done = series * Math.floor(steps / 2);
  return {
    perSecond: Math.round((done / (observeMs + forecastMs)) * 1000),
    limit,
    observeMicros: (1000 * observeMs) / done,
    forecastMicros: (1000 * forecastMs) / done,
    checksum,
  };
}

/** What an expert answered of some rows, at fixed steps ahead. */
class Asked {
  readonly #bank: SeriesBank;
  readonly #expert: BatchExpert;
  readonly #steps: readonly number[];
  readonly #contexts: Float32Array;
  readonly #features: Float32Array;
  readonly #out: Float32Array;
  readonly #levels = new Float64Array(BATCH);
  readonly #placeOf = new Map<number, number>();
  readonly #median: number;

  constructor(bank: SeriesBank, expert: BatchExpert, stepsAhead: readonly number[]) {
    this.#bank = bank;
    this.#expert = expert.withHorizons!(stepsAhead);
    this.#steps = stepsAhead;
    this.#contexts = new Float32Array(BATCH * this.#expert.contextSteps);
    this.#features = new Float32Array(BATCH * this.#expert.featureWidth!);
    this.#out = new Float32Array(BATCH * stepsAhead.length * this.#expert.quantiles.length);
    this.#median = this.#expert.quantiles.indexOf(0.5);
  }

  ask(rows: readonly number[]): void {
    this.#placeOf.clear();
    rows.forEach((row, place) => {
      const { at, length } = this.#bank.past(row);
      const periods = this.#bank.periods(row).filter((period) => period >= 2 && 2 * period <= length);
      const input = { at, length, stepS: STEP_S, atS: Number.NaN, ...(periods.length > 0 && { periods }) };
      this.#levels[place] = this.#expert.write!(input, place, this.#contexts, this.#features);
      this.#placeOf.set(row, place);
    });
    this.#expert.forecast(this.#contexts, this.#features, rows.length, this.#out);
  }

  read(row: number, ahead: number, into: Float64Array): boolean {
    const place = this.#placeOf.get(row);
    const h = this.#steps.indexOf(ahead);
    if (place === undefined || h < 0) return false;
    const from = (place * this.#steps.length + h) * this.#expert.quantiles.length + this.#median;
    for (let q = 0; q < 3; q++) into[q] = this.#levels[place]! * sinh(this.#out[from + q]!);
    return true;
  }
}

/** Rows of five metrics of 100,000 shards, say, and what the process holds for them. */
function memory(rows: number) {
  const beforeBytes = process.memoryUsage.rss();
  const bank = new SeriesBank({ stepS: STEP_S, slots: 2, windows: [15, 60], regression: false });
  const out = new Float64Array(3);
  let checksum = 0;
  for (let i = 0; i < rows; i++) bank.add();
  for (let step = 0; step < 2; step++)
    for (let row = 0; row < rows; row++) bank.observe(row, 1 + ((row * 7919 + step) % 100));
  for (let row = 0; row < rows; row++) {
    bank.forecast(row, [60], out);
    checksum += out[2]!;
  }
  const { ringCells } = bank.layout;
  return {
    rows,
    bytesPerRow: Math.round(bank.bytes / rows),
    historyBytesPerRow: ringCells.reduce((sum, cells) => sum + (cells / 16) * 19, 0),
    beforeBytes,
    residentBytes: process.memoryUsage.rss(),
    limitBytes: (MEMORY_LIMIT * rows) / 500_000,
    checksum,
  };
}

const found: Record<string, Found> = { experts: run(LIMITS.experts!) };
for (const runtime of values.runtimes.split(',').filter((name) => name !== '')) {
  // Only where they are asked for: the memory of rows is measured in the same process.
  if (runtime === 'wasm') {
    const { networkExpert } = await import('../src/forecast/network/expert.ts');
    found.wasm = run(LIMITS.wasm!, networkExpert({ horizonSteps: HORIZONS }));
  } else if (runtime === 'native') {
    const { nativeNetworkExpert } = await import('../src/forecast/network/onnx.ts');
    const native = await nativeNetworkExpert({ horizonSteps: HORIZONS });
    found.native = run(LIMITS.native!, native);
    await native.close();
  } else throw new Error(`no runtime ${runtime}: wasm, native`);
}
const held = Number(values.memory) > 0 ? memory(Number(values.memory)) : undefined;
if (values.json) process.stdout.write(`${JSON.stringify({ machine, series, steps, found, memory: held })}\n`);
else {
  process.stdout.write(
    `${formatMachine(machine)}\n${series} series, ${steps} steps, ${values.slots} answers in flight a horizon\n`,
  );
  for (const [name, one] of Object.entries(found))
    process.stdout.write(
      `${name.padEnd(8)} ${one.perSecond} series-metrics/s, ${(one.perSecond / one.limit).toFixed(2)} of ${one.limit} (observe ${one.observeMicros.toFixed(1)} us, forecast ${one.forecastMicros.toFixed(1)} us)\n`,
    );
  if (held !== undefined)
    process.stdout.write(
      `${held.rows} rows of ${held.bytesPerRow} bytes (${held.historyBytesPerRow} history): resident ${(held.residentBytes / 1e6).toFixed(0)} MB, ${(held.residentBytes / held.limitBytes).toFixed(2)} of ${(held.limitBytes / 1e6).toFixed(0)} MB; ${(held.beforeBytes / 1e6).toFixed(0)} MB of it before the first row\n`,
    );
}
