/**
 * What one request of a shard costs: CPU, bytes in and out, bytes written, the part that is commands; and how big its
 * state is. Means of decayed sums, shrunk to the service's, so that a shard with three requests is not judged by them.
 * A censored step tells of these as truly as any other: they are per request.
 */
import type { LoadSample } from '../model/load.ts';
import { DecayedSums, type DecayedSumsState } from './decayed-sums.ts';

/** Columns of a row, after requests. */
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
  readonly #sums = new DecayedSums(COLUMNS);
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
    this.#sums.add(index, service, prefix, [
      requests,
      sample.cpuSeconds,
      sample.bytesIn,
      sample.bytesOut,
      sample.writeBytes,
      sample.commands,
    ]);
    const { rows } = this.#sums;
    const at = index * COLUMNS;
    if (sample.stateBytes > 0) {
      const before = rows[at + STATE]!;
      // Growth per request, not per second: a state grows because something is written to it.
      if (before > 0 && requests > 0)
        rows[at + STATE_GROWTH]! +=
          0.1 * ((sample.stateBytes - before) / requests - rows[at + STATE_GROWTH]!);
      rows[at + STATE] = sample.stateBytes;
    }
  }

  /** Valid until the next call. */
  of(index: number, service: number, prefix = -1): RequestMeans {
    const result = this.#result;
    const sums = this.#sums;
    result.cpuSeconds = sums.mean(index, service, prefix, CPU);
    result.bytesIn = sums.mean(index, service, prefix, BYTES_IN);
    result.bytesOut = sums.mean(index, service, prefix, BYTES_OUT);
    result.writeBytes = sums.mean(index, service, prefix, WRITE);
    result.commandShare = Math.min(1, sums.mean(index, service, prefix, COMMANDS));
    return result;
  }

  stateBytes(index: number): number {
    return this.#sums.rows[index * COLUMNS + STATE] ?? 0;
  }

  /** Bytes a request; never negative: a shrinking state gives no room away in advance. */
  stateGrowth(index: number): number {
    return Math.max(0, this.#sums.rows[index * COLUMNS + STATE_GROWTH] ?? 0);
  }

  /** The row of a shard that was forgotten. */
  clear(index: number): void {
    this.#sums.clear(index);
  }

  save(): DecayedSumsState {
    return this.#sums.save();
  }

  load(state: DecayedSumsState): void {
    this.#sums.load(state);
  }
}
