/**
 * What one request of a shard costs: CPU, bytes in and out, bytes written, the part that is commands; and how big its
 * state is. Means of decayed sums, shrunk to the service's, so that a shard with three requests is not judged by them.
 * A censored step tells of these as truly as any other: they are per request.
 */
import type { LoadSample } from '../model/load.ts';
import { MEANS_HALF_LIFE_REQUESTS, MEANS_PRIOR_REQUESTS } from './defaults.ts';

/** Columns of a row. */
const REQUESTS = 0;
const CPU = 1;
const BYTES_IN = 2;
const BYTES_OUT = 3;
const WRITE = 4;
const COMMANDS = 5;
const STATE = 6;
const STATE_GROWTH = 7;
const COLUMNS = 8;

export interface RequestMeans {
  cpuSeconds: number;
  bytesIn: number;
  bytesOut: number;
  writeBytes: number;
  /** 0 to 1. */
  commandShare: number;
}

export class RequestMeansTable {
  #rows = new Float64Array(0);
  #services = new Float64Array(0);
  #prefixes = new Float64Array(0);
  readonly #result: RequestMeans = {
    cpuSeconds: 0,
    bytesIn: 0,
    bytesOut: 0,
    writeBytes: 0,
    commandShare: 0,
  };

  /** @param prefix its key prefix's number, -1 without one */
  observe(index: number, service: number, sample: LoadSample, prefix = -1): void {
    const requests = sample.commands + sample.queries;
    const values = [
      requests,
      sample.cpuSeconds,
      sample.bytesIn,
      sample.bytesOut,
      sample.writeBytes,
      sample.commands,
    ];
    this.#rows = grown(this.#rows, (index + 1) * COLUMNS);
    this.#services = grown(this.#services, (service + 1) * COLUMNS);
    add(this.#rows, index * COLUMNS, values, 2 ** (-requests / MEANS_HALF_LIFE_REQUESTS));
    add(this.#services, service * COLUMNS, values, 2 ** (-requests / (MEANS_HALF_LIFE_REQUESTS * 16)));
    if (prefix >= 0) {
      this.#prefixes = grown(this.#prefixes, (prefix + 1) * COLUMNS);
      add(this.#prefixes, prefix * COLUMNS, values, 2 ** (-requests / (MEANS_HALF_LIFE_REQUESTS * 4)));
    }
    const at = index * COLUMNS;
    if (sample.stateBytes > 0) {
      const before = this.#rows[at + STATE]!;
      // Growth per request, not per second: a state grows because something is written to it.
      if (before > 0 && requests > 0)
        this.#rows[at + STATE_GROWTH]! +=
          0.1 * ((sample.stateBytes - before) / requests - this.#rows[at + STATE_GROWTH]!);
      this.#rows[at + STATE] = sample.stateBytes;
    }
  }

  /** Valid until the next call. */
  of(index: number, service: number, prefix = -1): RequestMeans {
    const result = this.#result;
    result.cpuSeconds = this.#mean(index, service, prefix, CPU);
    result.bytesIn = this.#mean(index, service, prefix, BYTES_IN);
    result.bytesOut = this.#mean(index, service, prefix, BYTES_OUT);
    result.writeBytes = this.#mean(index, service, prefix, WRITE);
    result.commandShare = Math.min(1, this.#mean(index, service, prefix, COMMANDS));
    return result;
  }

  stateBytes(index: number): number {
    return this.#rows[index * COLUMNS + STATE] ?? 0;
  }

  /** Bytes a request; never negative: a shrinking state gives no room away in advance. */
  stateGrowth(index: number): number {
    return Math.max(0, this.#rows[index * COLUMNS + STATE_GROWTH] ?? 0);
  }

  /** The row of a shard that was forgotten. */
  clear(index: number): void {
    this.#rows.fill(0, index * COLUMNS, (index + 1) * COLUMNS);
  }

  #mean(index: number, service: number, prefix: number, column: number): number {
    const group = service * COLUMNS;
    const requests = this.#services[group + REQUESTS] ?? 0;
    let prior = requests > 0 ? this.#services[group + column]! / requests : 0;
    const among = prefix * COLUMNS;
    const alike = prefix < 0 ? 0 : (this.#prefixes[among + REQUESTS] ?? 0);
    if (alike > 0)
      prior =
        (this.#prefixes[among + column]! + MEANS_PRIOR_REQUESTS * prior) / (alike + MEANS_PRIOR_REQUESTS);
    const at = index * COLUMNS;
    const own = this.#rows[at + REQUESTS] ?? 0;
    return ((this.#rows[at + column] ?? 0) + MEANS_PRIOR_REQUESTS * prior) / (own + MEANS_PRIOR_REQUESTS);
  }

  save(): { rows: number[]; services: number[]; prefixes: number[] } {
    return {
      rows: Array.from(this.#rows, (v) => Number(v.toPrecision(4))),
      services: Array.from(this.#services),
      prefixes: Array.from(this.#prefixes),
    };
  }

  load(state: { rows: number[]; services: number[]; prefixes?: number[] }): void {
    this.#rows = Float64Array.from(state.rows);
    this.#services = Float64Array.from(state.services);
    this.#prefixes = Float64Array.from(state.prefixes ?? []);
  }
}

function add(rows: Float64Array, at: number, values: readonly number[], keep: number): void {
  for (let i = 0; i < values.length; i++) rows[at + i] = rows[at + i]! * keep + values[i]!;
}

function grown(values: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  if (values.length >= length) return values;
  const next = new Float64Array(Math.max(length, values.length * 2, 1024));
  next.set(values);
  return next;
}
