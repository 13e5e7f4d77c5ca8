/**
 * Groups: one service's requests from one origin each, as rows of one bank. They are well-behaved series where each
 * shard's is not.
 *
 * Invariants: a group begins with its first request, and all share one calendar: what came before is a past of zeros.
 */
import type { SeriesBank } from './bank/bank.ts';
import type { EngineState } from './engine-state.ts';
import { RowSeries } from './row-series.ts';

export interface Group {
  readonly service: number;
  readonly origin: number;
  readonly series: RowSeries;
}

/** More origins than any cluster has regions. */
const ORIGINS_MAX = 1024;
/** Zeros before a group's first request at most: what is longer ago teaches a new row nothing. */
const PAST_STEPS_MAX = 64;

export class Groups {
  readonly all: Group[] = [];
  readonly #bank: SeriesBank;
  readonly #at = new Map<number, Group>();

  constructor(bank: SeriesBank) {
    this.#bank = bank;
  }

  /**
   * One step of all.
   *
   * @param requests by service, and within it by origin
   * @param fill by how much what was heard of falls short
   * @param steps steps so far, this one included
   * @param period of those that begin, steps; 0: none is known
   */
  observe(requests: Float64Array, origins: number, fill: number, steps: number, period: number): void {
    for (let at = 0; at < requests.length; at++) {
      const service = Math.floor(at / origins);
      const origin = at % origins;
      const count = requests[at]! * fill;
      const known = this.#at.get(service * ORIGINS_MAX + origin);
      if (known === undefined && count === 0) continue;
      (known ?? this.#begin(service, origin, steps, period)).series.observe(count);
    }
  }

  #begin(service: number, origin: number, steps: number, period: number): Group {
    const group = this.#add(service, origin);
    for (let i = 1; i < Math.min(steps, PAST_STEPS_MAX); i++) group.series.observe(0);
    group.series.period = period;
    return group;
  }

  #add(service: number, origin: number): Group {
    const group: Group = { service, origin, series: new RowSeries(this.#bank) };
    this.#at.set(service * ORIGINS_MAX + origin, group);
    this.all.push(group);
    return group;
  }

  missing(): void {
    for (const { series } of this.all) series.observe(Number.NaN);
  }

  set period(steps: number) {
    for (const { series } of this.all) series.period = steps;
  }

  /** Medians of all together, so many steps ahead. */
  sum(ahead: number): number {
    let sum = 0;
    for (const { series } of this.all) sum += series.predict(ahead).p50;
    return sum;
  }

  save(): EngineState['groups'] {
    return this.all.map(({ service, origin, series }) => ({ service, origin, series: series.save() }));
  }

  load(saved: EngineState['groups']): void {
    for (const { service, origin, series } of saved) this.#add(service, origin).series.load(series);
  }
}
