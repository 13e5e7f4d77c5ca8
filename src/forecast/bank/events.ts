/**
 * What events do to a series: the load as it would have been without them, and how many times that each type of event
 * makes it, by steps since its start.
 *
 * While an event acts, what came is held against what the series' own row foresaw: the ratio of the sums, by label and
 * time since the start, is that type's shape, shrunk to the type's mean and that to none (or to what was declared). The
 * row itself learns the load without the event, so that the event is no new level and the level of then no event.
 *
 * Boundary: pure; everything in steps of the series. Invariants: a factor is finite and within {@link FACTOR_MIN} and
 * {@link FACTOR_MAX}; labels, events and those that act at a time are bounded; a label never seen, or none, acts as it
 * was declared and otherwise not at all.
 */
import { NORMAL_QUANTILES } from '../tracker.ts';

export const FACTOR_MIN = 1 / 50;
export const FACTOR_MAX = 1000;
/** Types remembered; beyond, the one unseen for longest is forgotten. */
export const LABELS_MAX = 256;
/** Events declared and not over. */
export const EVENTS_KEPT_MAX = 10_000;
/** Events that act at one time; further ones are taken for nothing. */
export const ACTING_MAX = 32;

/** Times since the start, in steps, that are told apart: the first steps one by one, then ever wider. */
const BIN_FROM = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096] as const;
const BINS = BIN_FROM.length;
/** Usual steps' worth of belief: in no effect, in a type's mean for each time, in its shape for an event under way. */
const NONE_STEPS = 1;
const MEAN_STEPS = 0.5;
const SHAPE_STEPS = 3;
/** What an occurrence keeps of its weight with each newer one. */
const KEEP = 0.7;
/** Error of a factor of a type seen once, as a share; and occurrences that this guess is worth. */
const FACTOR_ERROR = 0.2;
const FACTOR_ERROR_PRIOR = 1;
/** Share of a declared effect, never seen, by which p90 and p99 may be exceeded. */
const UNSURE = [0, 0.25, 0.5] as const;
/** The first occurrence of a type is hidden from the row for so many steps at most, and never more than this share of all. */
const HIDDEN_STEPS_MAX = 256;
const HIDDEN_SHARE_MAX = 0.25;
/** Steps known before anything is learnt of an event: what the row foresees by then is of the series. */
const KNOWN_MIN = 8;

export interface StepEvent {
  /** For {@link EventEffects.factorOf}. */
  id?: string;
  /** Its type; empty: of no type, nothing is learnt of it. */
  label: string;
  /** First step on which it acts, and the first on which it does not any more. */
  fromStep: number;
  toStep: number;
  /** How many times the load is expected to be, for a type never seen; 1 where nothing was declared. */
  factor: number;
}

/** What is known of a type: sums over its occurrences, in usual steps of the series in which each was seen. */
export interface EventType {
  occurrences: number;
  /** Mean square error of the factor foreseen, in logarithms, over occurrences. */
  error: number;
  seen: Float64Array;
  expected: Float64Array;
}

interface Acting extends StepEvent {
  seen: Float64Array;
  expected: Float64Array;
  /** What its shape said that it would be, over its steps so far. */
  foreseen: number;
}

export interface EventsState {
  types: { label: string; occurrences: number; error: number; seen: number[]; expected: number[] }[];
  events: StepEvent[];
  steps: number;
  hidden: number;
  usual: number;
}

export class EventEffects {
  readonly #types: Map<string, EventType>;
  /** Not begun, by first step, and those that act. */
  #coming: StepEvent[] = [];
  #acting: Acting[] = [];
  /** Steps observed, and of them hidden from the row. */
  #steps = 0;
  #hidden = 0;
  #usual = 0;

  /** @param types shared with others, where one type acts on several series */
  constructor(types: Map<string, EventType> = new Map()) {
    this.#types = types;
  }

  /** Whether anything acts or is to come. */
  get any(): boolean {
    return this.#acting.length > 0 || this.#coming.length > 0;
  }

  /** Types of which something is known, and how often each was seen. */
  get types(): Record<string, number> {
    return Object.fromEntries([...this.#types].map(([label, { occurrences }]) => [label, occurrences]));
  }

  /**
   * An event to come or under way; one that is over before the next step teaches nothing and is left out.
   *
   * @throws {RangeError} for one that ends before it begins, a factor that is none, or more than {@link EVENTS_KEPT_MAX}
   */
  declare(event: StepEvent): void {
    const { fromStep, toStep, factor } = event;
    if (!(toStep > fromStep)) throw new RangeError(`event "${event.label}" ends before it begins`);
    if (!(factor > 0 && factor <= FACTOR_MAX))
      throw new RangeError(
        `event "${event.label}" has a factor of ${factor}; above 0 and at most ${FACTOR_MAX}`,
      );
    if (toStep <= this.#steps) return;
    if (this.#coming.length >= EVENTS_KEPT_MAX)
      throw new RangeError(`${EVENTS_KEPT_MAX} events are declared and not begun; no more are kept`);
    let at = this.#coming.length;
    while (at > 0 && this.#coming[at - 1]!.fromStep > fromStep) at--;
    this.#coming.splice(at, 0, { ...event });
  }

  /**
   * The next step's value, as it would have been without the events that act on it; NaN where nobody can say.
   *
   * @param expected what the series' row foresaw for the step, without events; NaN where it knows nothing
   * @param known values the row has learnt
   * @param usual mean absolute value of the series: what a step's worth of belief is
   */
  without(value: number, expected: number, known: number, usual: number): number {
    const step = this.#steps++;
    this.#usual = usual;
    this.#begin(step);
    if (this.#acting.length === 0) return value;
    const learns = Number.isFinite(value) && known >= KNOWN_MIN && expected > 0 && value >= 0 && usual > 0;
    let clean = value;
    if (learns) {
      const factors = this.#acting.map((event) => this.#factor(event, step));
      const all = bounded(factors.reduce((product, factor) => product * factor, 1));
      // Those that act together share what none of them foresaw: each taking it all would take it off many times.
      const off = Math.min(FACTOR_MAX, value / (expected * all)) ** (1 / this.#acting.length);
      this.#acting.forEach((event, i) => {
        if (event.label === '') return;
        const bin = binOf(step - event.fromStep);
        event.seen[bin]! += expected * factors[i]! * off;
        event.expected[bin]! += expected;
        event.foreseen += expected * this.#shape(event, step - event.fromStep);
      });
      const after = bounded(this.#acting.reduce((product, event) => product * this.#factor(event, step), 1));
      clean = value / after;
      if (this.#hides(step)) {
        this.#hidden++;
        clean = Number.NaN;
      }
    }
    this.#end(step + 1);
    return clean;
  }

  /** A step on which nothing is declared. */
  pass(): void {
    this.#steps++;
  }

  /**
   * How many times the load without events it will be, steps ahead of the newest.
   *
   * @param error the factor's error as a share of it, into [p50, p90, p99]
   */
  ahead(steps: number, error?: Float64Array): number {
    const at = this.#steps - 1 + Math.max(1, Math.round(steps));
    let factor = 1;
    let acting = 0;
    error?.fill(0);
    const add = (event: StepEvent | Acting) => {
      if (at < event.fromStep || at >= event.toStep || acting >= ACTING_MAX) return;
      acting++;
      const own = this.#factor(event, at);
      factor *= own;
      if (error !== undefined)
        for (let q = 1; q < 3; q++) error[q] = Math.hypot(error[q]!, this.#error(event, own, q));
    };
    for (const event of this.#acting) add(event);
    for (const event of this.#coming) {
      if (event.fromStep > at) break;
      add(event);
    }
    return bounded(factor);
  }

  /** How many times the load one event makes it, steps ahead of the newest; undefined for one not known or not acting then. */
  factorOf(id: string, steps: number): number | undefined {
    const at = this.#steps - 1 + steps;
    const acts = (event: StepEvent) => event.id === id && at >= event.fromStep && at < event.toStep;
    const event = this.#acting.find(acts) ?? this.#coming.find(acts);
    return event && this.#factor(event, at);
  }

  save(): EventsState {
    return {
      types: [...this.#types].map(([label, type]) => ({
        label,
        occurrences: type.occurrences,
        error: type.error,
        seen: [...type.seen],
        expected: [...type.expected],
      })),
      // One under way begins anew for the next reader: what it had shown so far is lost.
      events: [...this.#acting.map(plain), ...this.#coming],
      steps: this.#steps,
      hidden: this.#hidden,
      usual: this.#usual,
    };
  }

  load({ types, events, steps, hidden, usual }: EventsState): void {
    for (const { label, seen, expected, ...rest } of types)
      this.#types.set(label, {
        ...rest,
        seen: Float64Array.from(seen),
        expected: Float64Array.from(expected),
      });
    this.#coming = events.map(plain);
    this.#steps = steps;
    this.#hidden = hidden;
    this.#usual = usual;
  }

  #begin(step: number): void {
    let begun = 0;
    while (begun < this.#coming.length && this.#coming[begun]!.fromStep <= step) begun++;
    for (const event of this.#coming.splice(0, begun))
      if (event.toStep > step && this.#acting.length < ACTING_MAX)
        this.#acting.push({
          ...event,
          seen: new Float64Array(BINS),
          expected: new Float64Array(BINS),
          foreseen: 0,
        });
  }

  #end(next: number): void {
    for (const event of this.#acting) if (event.toStep <= next) this.#learn(event);
    this.#acting = this.#acting.filter((event) => event.toStep > next);
  }

  #learn(event: Acting): void {
    const seen = sumOf(event.seen);
    const expected = sumOf(event.expected);
    if (event.label === '' || !(expected > 0) || !(this.#usual > 0)) return;
    let type = this.#types.get(event.label);
    if (type === undefined) {
      if (this.#types.size >= LABELS_MAX) this.#types.delete(this.#types.keys().next().value!);
      type = { occurrences: 0, error: 0, seen: new Float64Array(BINS), expected: new Float64Array(BINS) };
    } else {
      // Last in the order of forgetting.
      this.#types.delete(event.label);
      const off = Math.log((seen + this.#usual) / (event.foreseen + this.#usual));
      type.error += (off * off - type.error) / Math.min(8, type.occurrences);
    }
    this.#types.set(event.label, type);
    type.occurrences++;
    for (let bin = 0; bin < BINS; bin++) {
      type.seen[bin] = KEEP * type.seen[bin]! + event.seen[bin]! / this.#usual;
      type.expected[bin] = KEEP * type.expected[bin]! + event.expected[bin]! / this.#usual;
    }
  }

  /** The factor of an event at a step, by its type's shape and by how it has gone so far. */
  #factor(event: StepEvent | Acting, step: number): number {
    const shape = this.#shape(event, step - event.fromStep);
    if (!('seen' in event) || event.label === '') return shape;
    const belief = SHAPE_STEPS * this.#usual;
    const foreseen = event.foreseen + belief;
    return foreseen > 0 ? bounded((shape * (sumOf(event.seen) + belief)) / foreseen) : shape;
  }

  /** What a type's occurrences did so many steps after their start. */
  #shape({ label, factor }: StepEvent, since: number): number {
    const type = label === '' ? undefined : this.#types.get(label);
    if (type === undefined) return factor;
    const mean = (sumOf(type.seen) + NONE_STEPS * factor) / (sumOf(type.expected) + NONE_STEPS);
    const bin = binOf(since);
    return bounded((type.seen[bin]! + MEAN_STEPS * mean) / (type.expected[bin]! + MEAN_STEPS));
  }

  #error({ label }: StepEvent, factor: number, q: number): number {
    const type = label === '' ? undefined : this.#types.get(label);
    if (type === undefined) return factor > 0 ? (UNSURE[q]! * Math.abs(factor - 1)) / factor : 0;
    const compared = type.occurrences - 1;
    const square =
      (compared * type.error + FACTOR_ERROR_PRIOR * FACTOR_ERROR ** 2) / (compared + FACTOR_ERROR_PRIOR);
    // A type that does nothing does it surely.
    return NORMAL_QUANTILES[q]! * Math.sqrt(square) * Math.min(1, Math.abs(Math.log(factor)) / FACTOR_ERROR);
  }

  /** A type never seen teaches the row nothing while it acts, unless that would leave too little. */
  #hides(step: number): boolean {
    if (this.#hidden >= HIDDEN_SHARE_MAX * this.#steps) return false;
    return this.#acting.some(
      ({ label, fromStep }) => label !== '' && !this.#types.has(label) && step - fromStep < HIDDEN_STEPS_MAX,
    );
  }
}

/** The bin of a time since the start. */
function binOf(since: number): number {
  let bin = BINS - 1;
  while (bin > 0 && BIN_FROM[bin]! > since) bin--;
  return bin;
}

function bounded(factor: number): number {
  return Number.isFinite(factor) ? Math.max(FACTOR_MIN, Math.min(FACTOR_MAX, factor)) : 1;
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

function plain({ id, label, fromStep, toStep, factor }: StepEvent): StepEvent {
  return { ...(id !== undefined && { id }), label, fromStep, toStep, factor };
}
