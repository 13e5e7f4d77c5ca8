/**
 * How each shard follows its service's mix: tenants differ, and one that nobody asks for the heavy handler takes no more
 * in its hours, while another takes far more.
 *
 * Nodes tell the mix of a service, not of a shard. So a shard's own CPU a request is regressed on what a request of its
 * service costs at the mix of the same step: a line, by least squares over some periods, shrunk to the one through
 * nothing, which is that of a shard asked as its service is. Boundary: pure. Invariants: a shard that has said nothing is
 * asked as its service is; six numbers a shard, and none before a mix was told.
 */

/** Requests' worth of belief that a shard is asked as its service is: one dear request in a few is much noise. */
const PRIOR_REQUESTS = 100;

/** Of its mean: what a shard takes on the line at least, however steep that is. */
const LOWEST = 0.02;

/** Columns: step of the last sums; requests; of requests: costs, their squares, own CPU, own CPU times costs. */
const STEP = 0;
const REQUESTS = 1;
const COST = 2;
const SQUARES = 3;
const OWN = 4;
const PRODUCTS = 5;
const COLUMNS = 6;

export class MixFollowing {
  #rows = new Float64Array(0);

  /**
   * @param memory steps after which what was seen weighs a third
   * @param cost CPU seconds of a request of its service, at the mix of the step
   * @param own CPU seconds of all its requests
   */
  observe(index: number, step: number, memory: number, requests: number, cost: number, own: number): void {
    if (!(requests > 0)) return;
    if (this.#rows.length < (index + 1) * COLUMNS) this.#grow(index + 1);
    const rows = this.#rows;
    const at = index * COLUMNS;
    // A service that was forgotten counts its steps anew.
    const keep = Math.exp(Math.min(0, rows[at + STEP]! - step) / memory);
    rows[at + STEP] = step;
    rows[at + REQUESTS] = rows[at + REQUESTS]! * keep + requests;
    rows[at + COST] = rows[at + COST]! * keep + requests * cost;
    rows[at + SQUARES] = rows[at + SQUARES]! * keep + requests * cost * cost;
    rows[at + OWN] = rows[at + OWN]! * keep + own;
    rows[at + PRODUCTS] = rows[at + PRODUCTS]! * keep + own * cost;
  }

  /** The part of a change of its service's cost that is the shard's: 1 as its service, 0 not at all. */
  part(index: number): number {
    const at = index * COLUMNS;
    const requests = this.#rows[at + REQUESTS] ?? 0;
    if (!(requests > 0)) return 1;
    const cost = this.#rows[at + COST]! / requests;
    const own = this.#rows[at + OWN]! / requests;
    const variance = this.#rows[at + SQUARES]! / requests - cost * cost;
    if (!(own > 0) || !(variance > 1e-6 * cost * cost)) return 1;
    const slope = (this.#rows[at + PRODUCTS]! / requests - own * cost) / variance;
    const part = (requests * slope * (cost / own) + PRIOR_REQUESTS) / (requests + PRIOR_REQUESTS);
    return Number.isFinite(part) ? Math.max(0, part) : 1;
  }

  /**
   * How many times what it takes at one cost of its service a shard takes at another.
   *
   * @param part of {@link part}
   */
  ratio(index: number, part: number, from: number, to: number): number {
    const at = index * COLUMNS;
    const requests = this.#rows[at + REQUESTS] ?? 0;
    const mean = requests > 0 ? this.#rows[at + COST]! / requests : from;
    const line = (cost: number) => Math.max(LOWEST * mean, mean + part * (cost - mean));
    return line(to) / line(from);
  }

  clear(index: number): void {
    this.#rows.fill(0, index * COLUMNS, (index + 1) * COLUMNS);
  }

  save(): number[] {
    return Array.from(this.#rows, (value) => Number(value.toPrecision(7)));
  }

  load(rows: readonly number[]): void {
    this.#rows = Float64Array.from(rows);
  }

  #grow(shards: number): void {
    const rows = new Float64Array(Math.max(shards, 1024, (this.#rows.length * 2) / COLUMNS) * COLUMNS);
    rows.set(this.#rows);
    this.#rows = rows;
  }
}
