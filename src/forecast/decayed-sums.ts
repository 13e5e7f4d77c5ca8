/**
 * Sums of what shards were asked and what that took, decayed by requests, and their means: a shard's shrunk to its key
 * prefix's, that to its service's, so that a shard with three requests is not judged by them.
 *
 * Boundary: pure. Column 0 is requests. Invariant: memory is a row a shard, service and prefix.
 */
import { MEANS_HALF_LIFE_REQUESTS, MEANS_PRIOR_REQUESTS } from './defaults.ts';

export interface DecayedSumsState {
  rows: number[];
  services: number[];
  prefixes?: number[];
}

export class DecayedSums {
  readonly #columns: number;
  /** Of shards, `columns` numbers each; columns that {@link add} is not given are the caller's. */
  rows = new Float64Array(0);
  #services = new Float64Array(0);
  #prefixes = new Float64Array(0);

  constructor(columns: number) {
    this.#columns = columns;
  }

  /** @param prefix -1 without one */
  add(index: number, service: number, prefix: number, values: ArrayLike<number>): void {
    const columns = this.#columns;
    const requests = values[0]!;
    this.rows = grown(this.rows, (index + 1) * columns);
    this.#services = grown(this.#services, (service + 1) * columns);
    add(this.rows, index * columns, values, 2 ** (-requests / MEANS_HALF_LIFE_REQUESTS));
    add(this.#services, service * columns, values, 2 ** (-requests / (MEANS_HALF_LIFE_REQUESTS * 16)));
    if (prefix < 0) return;
    this.#prefixes = grown(this.#prefixes, (prefix + 1) * columns);
    add(this.#prefixes, prefix * columns, values, 2 ** (-requests / (MEANS_HALF_LIFE_REQUESTS * 4)));
  }

  /** Of a column, a request. */
  mean(index: number, service: number, prefix: number, column: number): number {
    const group = service * this.#columns;
    const requests = this.#services[group] ?? 0;
    let prior = requests > 0 ? this.#services[group + column]! / requests : 0;
    const among = prefix * this.#columns;
    const alike = prefix < 0 ? 0 : (this.#prefixes[among] ?? 0);
    if (alike > 0)
      prior =
        (this.#prefixes[among + column]! + MEANS_PRIOR_REQUESTS * prior) / (alike + MEANS_PRIOR_REQUESTS);
    const at = index * this.#columns;
    const own = this.rows[at] ?? 0;
    return ((this.rows[at + column] ?? 0) + MEANS_PRIOR_REQUESTS * prior) / (own + MEANS_PRIOR_REQUESTS);
  }

  clear(index: number): void {
    this.rows.fill(0, index * this.#columns, (index + 1) * this.#columns);
  }

  save(): DecayedSumsState {
    return {
      rows: Array.from(this.rows, (v) => Number(v.toPrecision(4))),
      services: Array.from(this.#services),
      prefixes: Array.from(this.#prefixes),
    };
  }

  load(state: DecayedSumsState): void {
    this.rows = Float64Array.from(state.rows);
    this.#services = Float64Array.from(state.services);
    this.#prefixes = Float64Array.from(state.prefixes ?? []);
  }
}

function add(rows: Float64Array, at: number, values: ArrayLike<number>, keep: number): void {
  for (let i = 0; i < values.length; i++) rows[at + i] = rows[at + i]! * keep + values[i]!;
}

function grown(values: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  if (values.length >= length) return values;
  const next = new Float64Array(Math.max(length, values.length * 2, 1024));
  next.set(values);
  return next;
}
