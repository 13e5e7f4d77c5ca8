/**
 * Generated load for the published scenarios: what people's load does, one trait at a time, so that it can be said
 * beforehand who should win. Deterministic for a seed; the formulas are the whole truth.
 */
import { SeededRandom } from '../io/random.ts';
import type { Series } from './series.ts';

export const GENERATORS = ['synchronised', 'jobs', 'daylight', 'steady', 'surprises'] as const;
export type GeneratorName = (typeof GENERATORS)[number];

export interface GenerateOptions {
  generator: GeneratorName;
  seed: string;
  tenants: number;
  days: number;
  stepS: number;
  /** Relative standard deviation of a tenant's own noise in a step. */
  noise: number;
}

/** Monday 2026-01-05 00:00 UTC. */
const START_S = 1_767_571_200;
const DAY_S = 86_400;
const HOUR_S = 3600;
/** Load of a tenant at rest, as a share of its busy one. */
const REST = 0.06;

/** One series a tenant; busy is about 1 times its size. */
export function generate(options: GenerateOptions): Series[] {
  const { generator, seed, tenants, days, stepS, noise } = options;
  const steps = Math.floor((days * DAY_S) / stepS);
  const series: Series[] = [];
  for (let tenant = 0; tenant < tenants; tenant++) {
    const random = new SeededRandom(`generate/${generator}/${seed}/${tenant}`);
    const size = 0.5 + random.next();
    const shape = SHAPES[generator](random, days);
    const values = new Float32Array(steps);
    for (let i = 0; i < steps; i++) {
      const bell = random.next() + random.next() + random.next() + random.next() - 2;
      values[i] = size * shape((i + 0.5) * stepS) * Math.max(0, 1 + noise * Math.sqrt(3) * bell);
    }
    series.push({ id: `tenant-${tenant}`, stepS, t0S: START_S, values });
  }
  return series;
}

type Shape = (atS: number) => number;
type Draw = { next(): number };

const SHAPES: Record<GeneratorName, (random: Draw, days: number) => Shape> = {
  // Shifts, classes, markets: everybody begins within five minutes of the same hour, every day; a second wave after noon.
  synchronised: (random) => {
    const late = random.next() * 300;
    return (atS) => {
      const hour = (atS % DAY_S) / HOUR_S;
      const begun = (from: number, to: number) =>
        clamp(((atS % DAY_S) - from * HOUR_S - late) / 120) * clamp((to * HOUR_S - (atS % DAY_S)) / 600);
      return REST + (hour < 12.5 ? begun(9, 12) : begun(13, 17));
    };
  },
  // Nightly jobs: each tenant at an hour of its own, always the same, for 20 to 60 minutes.
  jobs: (random) => {
    const at = Math.floor(random.next() * 48) * 1800;
    const long = 1200 + random.next() * 2400;
    return (atS) => {
      const since = (atS % DAY_S) - at;
      return REST * 4 + (since >= 0 && since < long ? 1 : 0);
    };
  },
  // People awake: a smooth hill by day, read at each origin's own time by the workload.
  daylight: (random) => {
    const shift = (random.next() - 0.5) * 2 * HOUR_S;
    return (atS) => REST + Math.max(0, Math.sin(((atS + shift) / DAY_S) * 2 * Math.PI - Math.PI / 2)) ** 1.5;
  },
  // Machines that report: the same all day.
  steady: () => () => 0.6,
  // Surprises: busy spells of half an hour to two hours at times nobody could know, three a day on average.
  surprises: (random, days) => {
    const spells: { from: number; to: number }[] = [];
    for (let at = 0; at < days * DAY_S; ) {
      at += -Math.log(1 - random.next()) * 8 * HOUR_S;
      const long = 1800 + random.next() * 5400;
      spells.push({ from: at, to: at + long });
      at += long;
    }
    return (atS) => 0.25 + (spells.some(({ from, to }) => atS >= from && atS < to) ? 1 : 0);
  },
};

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
