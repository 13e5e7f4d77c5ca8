/**
 * Every request of a run in 24 bytes, and the figures over any part of it. Exact quantiles: a run of minutes is small
 * enough to keep whole, and a figure that decides something should not be a sketch.
 */

export interface LoggedRequest {
  /** When it was due, milliseconds after the start of the load. */
  scheduledMs: number;
  /** From then to the end of the answer. */
  latencyMs: number;
  origin: number;
  key: number;
  command: boolean;
  failed: boolean;
  /** Index of the region whose node executed it; undefined where the answer did not say who did. */
  served: number | undefined;
}

const FLAG_COMMAND = 1;
const FLAG_FAILED = 2;
const SERVED_UNKNOWN = 255;
const ROW_BYTES = 24;

export class RequestLog {
  #rows: Buffer;
  #count = 0;

  constructor(rows: Buffer = Buffer.alloc(0)) {
    this.#rows = rows;
    this.#count = Math.floor(rows.byteLength / ROW_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  add(request: LoggedRequest): void {
    if ((this.#count + 1) * ROW_BYTES > this.#rows.byteLength) {
      const larger = Buffer.alloc(Math.max(ROW_BYTES * 4096, this.#rows.byteLength * 2));
      this.#rows.copy(larger);
      this.#rows = larger;
    }
    const at = this.#count++ * ROW_BYTES;
    this.#rows.writeDoubleLE(request.scheduledMs, at);
    this.#rows.writeDoubleLE(request.latencyMs, at + 8);
    this.#rows.writeUInt32LE(request.key, at + 16);
    this.#rows.writeUInt8(request.origin, at + 20);
    let flags = 0;
    if (request.command) flags |= FLAG_COMMAND;
    if (request.failed) flags |= FLAG_FAILED;
    this.#rows.writeUInt8(flags, at + 21);
    this.#rows.writeUInt8(request.served ?? SERVED_UNKNOWN, at + 22);
  }

  get(index: number): LoggedRequest {
    const at = index * ROW_BYTES;
    const flags = this.#rows.readUInt8(at + 21);
    const served = this.#rows.readUInt8(at + 22);
    return {
      scheduledMs: this.#rows.readDoubleLE(at),
      latencyMs: this.#rows.readDoubleLE(at + 8),
      key: this.#rows.readUInt32LE(at + 16),
      origin: this.#rows.readUInt8(at + 20),
      command: (flags & FLAG_COMMAND) !== 0,
      failed: (flags & FLAG_FAILED) !== 0,
      served: served === SERVED_UNKNOWN ? undefined : served,
    };
  }

  /** For writing to a file; reading it back gives an equal log. */
  bytes(): Buffer {
    return this.#rows.subarray(0, this.#count * ROW_BYTES);
  }
}

export interface RequestFigures {
  requests: number;
  failed: number;
  latencyMs: { p50: number; p99: number; mean: number };
  over100MsShare: number;
  crossRegionShare: number;
}

/** Figures over the requests that were due from `fromMs` on. Latencies are those of requests that succeeded. */
export function figuresOf(log: RequestLog, fromMs: number): RequestFigures {
  const latencies: number[] = [];
  let requests = 0;
  let failed = 0;
  let known = 0;
  let cross = 0;
  for (let i = 0; i < log.count; i++) {
    const request = log.get(i);
    if (request.scheduledMs < fromMs) continue;
    requests++;
    if (request.failed) {
      failed++;
      continue;
    }
    latencies.push(request.latencyMs);
    if (request.served === undefined) continue;
    known++;
    if (request.served !== request.origin) cross++;
  }
  latencies.sort((a, b) => a - b);
  const sum = latencies.reduce((a, b) => a + b, 0);
  const over100 = latencies.length - firstAbove(latencies, 100);
  return {
    requests,
    failed,
    latencyMs: {
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      mean: round(latencies.length === 0 ? 0 : sum / latencies.length),
    },
    over100MsShare: round(latencies.length === 0 ? 0 : over100 / latencies.length, 4),
    crossRegionShare: round(known === 0 ? 0 : cross / known, 4),
  };
}

/** Nearest rank of ascending values; 0 where there are none. */
export function quantile(ascending: readonly number[], q: number): number {
  if (ascending.length === 0) return 0;
  const rank = Math.min(ascending.length - 1, Math.max(0, Math.ceil(q * ascending.length) - 1));
  return round(ascending[rank]!);
}

function firstAbove(ascending: readonly number[], limit: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function round(value: number, digits = 2): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
