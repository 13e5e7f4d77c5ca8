/**
 * The demonstration's load as a formula: keys by Zipf, origin mixes by Dirichlet, regions that sleep and wake, flash
 * crowds. Expected rates are known exactly, so forecasts can be held against the truth; counts are drawn from them.
 */
import { SeededRandom } from '../../src/io/random.ts';
import type { LoadStep } from '../../src/metrics/step.ts';
import type { LoadSample } from '../../src/model/load.ts';

export interface DemoLoadOptions {
  seed: string;
  keys?: number;
  zipf?: number;
  /** Concentration of per-key origin mixes. */
  alpha?: number;
  dayS?: number;
  stepS?: number;
  requestsPerSecond?: number;
  commandShare?: number;
  /** Lowest activity of a sleeping region. */
  nightFloor?: number;
  /** Crowds a day; 0: none. */
  crowdsPerDay?: number;
  cpuSecondsPerRequest?: number;
  stateBytes?: number;
  regions?: string[];
  /** Share of a day by which each region wakes later. */
  phases?: number[];
}

interface Crowd {
  key: number;
  origin: number;
  startS: number;
  endS: number;
  extra: number;
}

export class DemoLoad {
  readonly regions: string[];
  readonly ids: string[];
  readonly dayS: number;
  readonly stepS: number;
  readonly #phases: number[];
  readonly #floor: number;
  readonly #rate: number;
  readonly #commandShare: number;
  readonly #cpu: number;
  readonly #stateBytes: number;
  readonly #crowdsPerDay: number;
  /** `weights[key * regions + origin]`: requests a second at full activity. */
  readonly weights: Float64Array;
  readonly #random: SeededRandom;
  readonly #crowdRandom: SeededRandom;
  readonly #crowds: Crowd[] = [];
  #crowdsUntilS = 0;

  constructor(options: DemoLoadOptions) {
    const keys = options.keys ?? 2000;
    this.regions = options.regions ?? ['us-east-1', 'eu-west-1', 'ap-northeast-1'];
    this.#phases = options.phases ?? [0, 5 / 24, 14 / 24];
    this.dayS = options.dayS ?? 30;
    this.stepS = options.stepS ?? 1;
    this.#floor = options.nightFloor ?? 0.05;
    this.#rate = options.requestsPerSecond ?? 400;
    this.#commandShare = options.commandShare ?? 0.3;
    this.#cpu = options.cpuSecondsPerRequest ?? 0.0003;
    this.#stateBytes = options.stateBytes ?? 2000;
    this.#crowdsPerDay = options.crowdsPerDay ?? 1;
    const random = new SeededRandom(options.seed);
    this.#random = random.split('counts') as SeededRandom;
    this.#crowdRandom = random.split('crowds') as SeededRandom;
    const shape = random.split('shape') as SeededRandom;
    const origins = this.regions.length;
    this.weights = new Float64Array(keys * origins);
    this.ids = [];
    let sum = 0;
    for (let key = 0; key < keys; key++) {
      this.ids.push(`room/k${key}`);
      const popularity = (key + 1) ** -(options.zipf ?? 0.9);
      const mix = this.regions.map(() => gamma(shape, options.alpha ?? 1));
      const total = mix.reduce((a, b) => a + b, 0);
      mix.forEach((part, origin) => {
        this.weights[key * origins + origin] = (popularity * part) / total;
      });
      sum += popularity;
    }
    // The mean activity over a day makes the stated rate the mean rate.
    let mean = 0;
    for (let i = 0; i < 96; i++) mean += this.#wave(i / 96) / 96;
    for (let i = 0; i < this.weights.length; i++) this.weights[i]! *= this.#rate / sum / mean;
  }

  /** Activity of a region, the night floor to 1. */
  activity(origin: number, atS: number): number {
    return this.#wave(atS / this.dayS + this.#phases[origin]!);
  }

  #wave(day: number): number {
    const sun = 0.5 - 0.5 * Math.cos(2 * Math.PI * (day - Math.floor(day)));
    return this.#floor + (1 - this.#floor) * sun ** 1.5;
  }

  /** True requests a second of a key from an origin. */
  rate(key: number, origin: number, atS: number): number {
    let rate = this.weights[key * this.regions.length + origin]! * this.activity(origin, atS);
    this.#drawCrowds(atS);
    for (const crowd of this.#crowds)
      if (crowd.key === key && crowd.origin === origin && crowd.startS <= atS && atS < crowd.endS)
        rate += crowd.extra;
    return rate;
  }

  #drawCrowds(untilS: number): void {
    if (this.#crowdsPerDay <= 0) return;
    while (this.#crowdsUntilS <= untilS) {
      const random = this.#crowdRandom;
      this.#crowdsUntilS += (-Math.log(1 - random.next()) * this.dayS) / this.#crowdsPerDay;
      this.#crowds.push({
        key: Math.floor(random.next() * this.ids.length),
        origin: Math.floor(random.next() * this.regions.length),
        startS: this.#crowdsUntilS,
        endS: this.#crowdsUntilS + this.dayS * (0.15 + 0.35 * random.next()),
        extra: this.#rate * (0.03 + 0.07 * random.next()),
      });
    }
  }

  /** True total a second from an origin. */
  originRate(origin: number, atS: number): number {
    let sum = 0;
    for (let key = 0; key < this.ids.length; key++)
      sum += this.weights[key * this.regions.length + origin]! * this.activity(origin, atS);
    this.#drawCrowds(atS);
    for (const crowd of this.#crowds)
      if (crowd.origin === origin && crowd.startS <= atS && atS < crowd.endS) sum += crowd.extra;
    return sum;
  }

  /** Draws the step that ends at `number * stepS`. */
  step(number: number): LoadStep {
    const atS = (number - 0.5) * this.stepS;
    const atMs = number * this.stepS * 1000;
    const origins = this.regions.length;
    const activity = this.regions.map((_, origin) => this.activity(origin, atS) * this.stepS);
    this.#drawCrowds(atS);
    const extra = new Map<number, number>();
    for (const crowd of this.#crowds)
      if (crowd.startS <= atS && atS < crowd.endS) {
        const slot = crowd.key * origins + crowd.origin;
        extra.set(slot, (extra.get(slot) ?? 0) + crowd.extra * this.stepS);
      }
    const shards: LoadSample[] = [];
    for (let key = 0; key < this.ids.length; key++) {
      let sample: LoadSample | undefined;
      for (let origin = 0; origin < origins; origin++) {
        const slot = key * origins + origin;
        const count = poisson(this.#random, this.weights[slot]! * activity[origin]! + (extra.get(slot) ?? 0));
        if (count === 0) continue;
        sample ??= this.#sample(this.ids[key]!, atMs);
        let commands = 0;
        for (let i = 0; i < count; i++) if (this.#random.next() < this.#commandShare) commands++;
        sample.byOrigin[this.regions[origin]!] = { commands, queries: count - commands };
        sample.commands += commands;
        sample.queries += count - commands;
        sample.cpuSeconds += count * this.#cpu;
        sample.bytesIn += count * 200;
        sample.bytesOut += count * 400;
        sample.writeBytes += commands * 100;
      }
      if (sample !== undefined) shards.push(sample);
    }
    return { number, atMs, stepS: this.stepS, shards, missingShare: 0 };
  }

  #sample(shard: string, atMs: number): LoadSample {
    return {
      shard,
      atMs,
      stepMs: this.stepS * 1000,
      commands: 0,
      queries: 0,
      rejected: 0,
      byOrigin: {},
      cpuSeconds: 0,
      stateBytes: this.#stateBytes,
      bytesIn: 0,
      bytesOut: 0,
      writeBytes: 0,
      censored: false,
    };
  }
}

/** Poisson by multiplication for small means, by normal approximation from 60 on. */
export function poisson(random: { next(): number }, mean: number): number {
  if (mean <= 0) return 0;
  if (mean > 60) {
    const z = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    return Math.max(0, Math.round(mean + z * Math.sqrt(mean)));
  }
  const limit = Math.exp(-mean);
  let product = random.next();
  let count = 0;
  while (product > limit) {
    product *= random.next();
    count++;
  }
  return count;
}

/** Marsaglia and Tsang (2000); below 1 by Johnk's boost. */
function gamma(random: { next(): number }, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * (1 - random.next()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const z = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    const v = (1 + c * z) ** 3;
    if (v > 0 && Math.log(1 - random.next()) < 0.5 * z * z + d - d * v + d * Math.log(v)) return d * v;
  }
}
