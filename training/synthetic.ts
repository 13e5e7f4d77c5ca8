/**
 * Series that no data set holds: seasons of any period, days within weeks, counts, bursts, level shifts, on and off,
 * leaks and resets, walks, flash crowds. And random growth, put on real series too, so that the network has seen loads
 * beyond anything in their past.
 */
import type { Random } from './random.ts';

export interface MadeSeries {
  values: Float64Array;
  /** True periods in steps, strongest first. */
  periods: number[];
}

const DAYS = [12, 24, 24, 24, 48, 96, 144, 288, 288, 1440];

/** One series of 48 to 6,000 steps. */
export function makeSynthetic(random: Random): MadeSeries {
  const steps = Math.round(random.logBetween(48, 6000));
  const kind = random.next();
  const made =
    kind < 0.62
      ? seasonal(random, steps)
      : kind < 0.72
        ? walk(random, steps)
        : kind < 0.8
          ? intermittent(random, steps)
          : kind < 0.87
            ? onOff(random, steps)
            : kind < 0.93
              ? jobs(random, steps)
              : leak(random, steps);
  const values = made.values;
  if (random.chance(0.25)) addShifts(values, random);
  if (random.chance(0.3)) addGrowth(values, random);
  if (random.chance(0.12)) addOutages(values, random);
  finish(values, random);
  return made;
}

function shapeOf(random: Random, period: number): Float64Array {
  const harmonics = 1 + random.whole(random.chance(0.3) ? 8 : 3);
  const shape = new Float64Array(Math.max(2, Math.round(period)));
  for (let k = 1; k <= harmonics; k++) {
    const size = random.normal() / k ** random.between(0.3, 1.5);
    const phase = random.between(0, 2 * Math.PI);
    for (let i = 0; i < shape.length; i++)
      shape[i]! += size * Math.sin((2 * Math.PI * k * i) / shape.length + phase);
  }
  if (random.chance(0.2)) for (let i = 0; i < shape.length; i++) shape[i] = shape[i]! > 0 ? 1 : -1;
  return shape;
}

function seasonal(random: Random, steps: number): MadeSeries {
  const day = random.chance(0.7) ? random.pick(DAYS) : random.logBetween(4, 1500);
  const hasWeek = random.chance(0.55);
  const dayShape = shapeOf(random, day);
  const restShape = random.chance(0.5) ? shapeOf(random, day) : dayShape;
  const weekday = Array.from({ length: 7 }, (_, d) =>
    d >= 5 ? random.between(-1.5, 0.3) : 0.15 * random.normal(),
  );
  const strength = random.chance(0.15) ? random.between(0, 0.1) : random.logBetween(0.05, 1.5);
  const weekStrength = hasWeek ? random.between(0.1, 1) : 0;
  const noise = random.logBetween(0.003, 0.6);
  const keep = random.pick([0, 0, 0.3, 0.7, 0.9, 0.97]);
  const heavy = random.chance(0.25);
  const walkSize = random.chance(0.4) ? random.logBetween(0.0003, 0.03) : 0;
  const growth = random.chance(0.3) ? random.between(-1.5, 2) / steps : 0;
  const offset = random.chance(0.4) ? random.between(0, 4) : 0;
  const additive = random.chance(0.35);
  const amplitudeWalk = random.chance(0.3) ? 0.01 : 0;
  const values = new Float64Array(steps);
  const phase = random.whole(1e6);
  let error = 0;
  let level = 0;
  let amplitude = 1;
  for (let t = 0; t < steps; t++) {
    const place = (t + phase) / day;
    const inDay = Math.floor((place - Math.floor(place)) * dayShape.length);
    const weekDay = Math.floor(place) % 7;
    const shape = hasWeek && weekDay >= 5 ? restShape : dayShape;
    error = keep * error + noise * (heavy ? random.heavy() : random.normal()) * Math.sqrt(1 - keep * keep);
    level += walkSize * random.normal() + growth;
    amplitude = Math.max(0, amplitude + amplitudeWalk * random.normal());
    const season = strength * amplitude * (shape[inDay] ?? 0) + weekStrength * weekday[weekDay]!;
    values[t] = additive
      ? Math.max(0, 3 + offset + season + level + error)
      : offset + Math.exp(Math.max(-8, Math.min(5, season + level + error)));
  }
  const periods = strength > 0.03 ? [day] : [];
  if (hasWeek) periods.push(day * 7);
  return { values, periods };
}

function walk(random: Random, steps: number): MadeSeries {
  const values = new Float64Array(steps);
  const pull = random.pick([0, 0, 0.01, 0.05, 0.2]);
  const size = random.logBetween(0.005, 0.3);
  const momentum = random.pick([0, 0, 0.5, 0.9]);
  const noise = random.chance(0.5) ? random.logBetween(0.01, 0.5) : 0;
  let level = 0;
  let speed = 0;
  for (let t = 0; t < steps; t++) {
    speed = momentum * speed + size * (1 - momentum) * random.normal();
    level = (1 - pull) * level + speed;
    values[t] = Math.exp(Math.max(-8, Math.min(8, level + noise * random.normal())));
  }
  return { values, periods: [] };
}

function intermittent(random: Random, steps: number): MadeSeries {
  const rate = random.logBetween(0.02, 20);
  const day = random.chance(0.5) ? random.pick(DAYS) : 0;
  const shape = day > 0 ? shapeOf(random, day) : new Float64Array([0]);
  const burst = random.chance(0.4) ? random.logBetween(1.5, 30) : 1;
  const values = new Float64Array(steps);
  const stay = random.pick([0, 0.8, 0.98]);
  let activity = 1;
  for (let t = 0; t < steps; t++) {
    if (!random.chance(stay)) activity = Math.exp(0.5 * random.normal());
    const mean = rate * activity * Math.exp(0.7 * shape[t % shape.length]!);
    values[t] =
      burst > 1
        ? random.poisson(mean / burst) * Math.ceil(random.logBetween(1, burst))
        : random.poisson(mean);
  }
  return { values, periods: day > 0 ? [day] : [] };
}

function onOff(random: Random, steps: number): MadeSeries {
  const states = Array.from({ length: 2 + random.whole(3) }, () => random.logBetween(0.05, 10));
  if (random.chance(0.5)) states[0] = 0;
  const dwell = random.logBetween(2, 300);
  const noise = random.logBetween(0.003, 0.4);
  const values = new Float64Array(steps);
  let state = 0;
  for (let t = 0; t < steps; t++) {
    if (random.chance(1 / dwell)) state = random.whole(states.length);
    values[t] = Math.max(0, states[state]! * (1 + noise * random.normal()));
  }
  return { values, periods: [] };
}

/** Batch jobs: a base, and every so many steps a job of some length. */
function jobs(random: Random, steps: number): MadeSeries {
  const period = random.chance(0.6) ? random.pick([6, 12, 24, 48, 96, 288]) : random.logBetween(4, 300);
  const width = Math.max(1, period * random.between(0.02, 0.4));
  const height = random.logBetween(0.5, 40);
  const jitter = random.chance(0.4) ? random.between(0, 0.2) * period : 0;
  const skipped = random.chance(0.4) ? random.between(0, 0.4) : 0;
  const noise = random.logBetween(0.01, 0.5);
  const values = new Float64Array(steps);
  for (let t = 0; t < steps; t++) values[t] = Math.max(0, 1 + noise * random.normal());
  for (let start = -random.next() * period; start < steps; start += period) {
    if (random.chance(skipped)) continue;
    const from = Math.round(start + jitter * random.normal());
    const own = height * Math.exp(0.2 * random.normal());
    for (let t = Math.max(0, from); t < Math.min(steps, from + width); t++) values[t]! += own;
  }
  return { values, periods: [period] };
}

/** Memory that grows and is given back. */
function leak(random: Random, steps: number): MadeSeries {
  const values = new Float64Array(steps);
  const resetChance = 1 / random.logBetween(20, 2000);
  const regular = random.chance(0.4) ? Math.round(random.logBetween(10, 400)) : 0;
  const base = random.between(0, 3);
  const noise = random.logBetween(0.0005, 0.1);
  const slope = random.logBetween(0.0005, 0.05);
  let used = 0;
  for (let t = 0; t < steps; t++) {
    used += slope * Math.max(0, 1 + 0.5 * random.normal());
    if (regular > 0 ? t % regular === 0 : random.chance(resetChance)) used *= random.between(0, 0.3);
    values[t] = base + used + noise * Math.abs(random.normal());
  }
  return { values, periods: regular >= 4 ? [regular] : [] };
}

/** Some steps of a new level, abrupt. */
function addShifts(values: Float64Array, random: Random): void {
  for (let i = 1 + random.whole(3); i > 0; i--) {
    const factor = random.logBetween(0.2, 5);
    for (let t = random.whole(values.length); t < values.length; t++) values[t]! *= factor;
  }
}

/**
 * Flash crowds: load times a factor that rises within some steps (exponentially or evenly), stays, and fades. Crowds
 * are drawn without looking at the series, so that what announces them is only their beginning.
 */
export function addGrowth(values: Float64Array, random: Random): void {
  for (let i = 1 + random.whole(3); i > 0; i--) {
    const start = random.whole(values.length);
    const rise = random.logBetween(1, 60);
    const stay = random.logBetween(1, 120);
    const fade = random.logBetween(2, 200);
    const gain = random.logBetween(0.5, 20);
    const straight = random.chance(0.5);
    const end = Math.min(values.length, Math.ceil(start + rise + stay + 5 * fade));
    for (let t = start; t < end; t++) {
      const since = t - start;
      let share = 1;
      if (since < rise) share = straight ? since / rise : ((1 + gain) ** (since / rise) - 1) / gain;
      else if (since > rise + stay) share = Math.exp(-(since - rise - stay) / fade);
      values[t]! *= 1 + gain * share;
    }
  }
}

function addOutages(values: Float64Array, random: Random): void {
  for (let i = 1 + random.whole(3); i > 0; i--) {
    const start = random.whole(values.length);
    const end = Math.min(values.length, start + Math.ceil(random.logBetween(1, 100)));
    const left = random.chance(0.7) ? 0 : random.between(0, 0.3);
    for (let t = start; t < end; t++) values[t]! *= left;
  }
}

/** How numbers reach a meter: counted, rounded, cut off, lost. Put on real series too. */
export function finish(values: Float64Array, random: Random): void {
  let mean = 0;
  for (const value of values) if (Number.isFinite(value)) mean += value / values.length;
  if (!(mean > 0)) return;
  const kind = random.next();
  if (kind < 0.15) {
    const per = random.logBetween(0.5, 300) / mean;
    for (let t = 0; t < values.length; t++) values[t] = random.poisson(Math.min(1e7, values[t]! * per));
  } else if (kind < 0.3) {
    const unit = mean / random.logBetween(1, 50);
    for (let t = 0; t < values.length; t++) values[t] = Math.round(values[t]! / unit) * unit;
  } else if (kind < 0.34) {
    const most = mean * random.between(1.1, 2.5);
    for (let t = 0; t < values.length; t++) values[t] = Math.min(most, values[t]!);
  }
  if (random.chance(0.08)) {
    const lost = random.between(0, 0.1);
    for (let t = 0; t < values.length; t++) if (random.chance(lost)) values[t] = Number.NaN;
  }
}
