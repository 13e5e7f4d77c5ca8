/**
 * What is counted while a policy is replayed: dollars, minutes over the objective, latency, moves. Formulas are in
 * docs/backtest.md; a slow twin recomputes them second by second in the test.
 *
 * Invariant: nothing is counted before {@link Score.active}; times are seconds of virtual time.
 */
import type { PolicyId, RunResult } from './model.ts';
import { backlogMean, shareAbove, sojournMeanS, sojournP99S } from './queueing.ts';

/** Latencies are counted in bins of 5 % from a tenth of a millisecond to an hour. */
const BIN_RATIO = Math.log(1.05);
const BIN_FIRST_MS = 0.1;
const BINS = 360;
/** A node's exponential sojourn is counted at these quantiles, each for its share of the requests. */
const SOJOURN_POINTS: readonly (readonly [share: number, logs: number])[] = [
  [0.5, -Math.log(1 - 0.25)],
  [0.25, -Math.log(1 - 0.625)],
  [0.15, -Math.log(1 - 0.825)],
  [0.06, -Math.log(1 - 0.93)],
  [0.03, -Math.log(1 - 0.975)],
  [0.009, -Math.log(1 - 0.9945)],
  [0.001, -Math.log(1 - 0.9995)],
];
const BYTES_PER_GB = 1e9;
/** A move back within this time is ping-pong. */
export const PING_PONG_S = 3600;

/** Requests from one origin at one node over a stretch of time in which nothing changes. */
export interface Stretch {
  seconds: number;
  /** Requests a second. */
  rate: number;
  wayMs: number;
  /** Mean service time at the node, seconds. */
  serviceS: number;
  /** Offered work over capacity, moves included. */
  rho: number;
  /** Backlog at the beginning, seconds. */
  waitS: number;
  waitMaxS: number;
  objectiveMs: number;
}

export class Score {
  /** Counting has begun. */
  active = false;
  seconds = 0;
  usdNodes = 0;
  usdEgress = 0;
  usdMoves = 0;
  moves = 0;
  promotions = 0;
  /** For standbys. */
  bytesCopied = 0;
  pingPong = 0;
  readonly #gaps: [atS: number, gap: number][] = [];
  bytesMoved = 0;
  nodesStarted = 0;
  nodeSeconds = 0;
  minutesOver = 0;
  clockMinutesOver = 0;
  requests = 0;
  over = 0;
  rejected = 0;
  #latencyMsSum = 0;
  readonly #bins = new Float64Array(BINS);
  #stretchRate = 0;
  #stretchOver = 0;

  /** A stretch of all nodes begins: shares over the objective are of all its requests. */
  begin(seconds: number): void {
    this.seconds += seconds;
    this.#stretchRate = 0;
    this.#stretchOver = 0;
  }

  add(stretch: Stretch): void {
    const { seconds, rate, wayMs, serviceS, rho, waitS, waitMaxS, objectiveMs } = stretch;
    if (rate <= 0 || seconds <= 0) return;
    const requests = rate * seconds;
    const p99Ms = wayMs + 1000 * sojournP99S(serviceS, rho);
    const overShare = shareAbove(waitS, rho, seconds, waitMaxS, (objectiveMs - p99Ms) / 1000);
    this.#stretchRate += rate;
    this.#stretchOver += rate * overShare;
    const waitMean = backlogMean(waitS, rho, seconds, waitMaxS);
    const meanS = sojournMeanS(serviceS, rho);
    // Once the backlog is at its bound, what exceeds capacity is answered 503.
    const full = rho > 1 ? shareAbove(waitS, rho, seconds, waitMaxS, waitMaxS * (1 - 1e-9)) : 0;
    const rejected = requests * full * (1 - 1 / Math.max(1, rho));
    const slackS = objectiveMs / 1000 - wayMs / 1000 - waitMean;
    const late = slackS <= 0 ? 1 : Math.exp(-slackS / meanS);
    this.requests += requests;
    this.rejected += rejected;
    this.over += rejected + (requests - rejected) * late;
    const fixedMs = wayMs + 1000 * waitMean;
    this.#latencyMsSum += (requests - rejected) * (fixedMs + 1000 * meanS);
    for (const [share, logs] of SOJOURN_POINTS)
      this.#count(fixedMs + 1000 * meanS * logs, (requests - rejected) * share);
  }

  /** Requests of a shard that no node serves: they wait longer than the objective. */
  unserved(rate: number, seconds: number): void {
    this.#stretchRate += rate;
    this.#stretchOver += rate;
    this.requests += rate * seconds;
    this.over += rate * seconds;
    this.rejected += rate * seconds;
  }

  /** All nodes of the stretch were added. */
  end(seconds: number): void {
    if (this.#stretchRate <= 0) return;
    const share = this.#stretchOver / this.#stretchRate;
    this.minutesOver += (share * seconds) / 60;
    if (share > 0.01) this.clockMinutesOver += seconds / 60;
  }

  /** Requests that waited for a hand-off: `rate * pause` of them, half the pause on average. */
  pause(rate: number, pauseMs: number, slackMs: number): void {
    const requests = (rate * pauseMs) / 1000;
    this.#latencyMsSum += (requests * pauseMs) / 2;
    if (pauseMs > slackMs) this.over += requests * (1 - Math.max(0, slackMs) / pauseMs);
  }

  egress(bytes: number, usdPerGb: number): void {
    this.usdEgress += (bytes * usdPerGb) / BYTES_PER_GB;
  }

  /** One round's certified gap. */
  certified(gap: number): void {
    if (this.active) this.#gaps.push([this.seconds, gap]);
  }

  promotion(back: boolean): void {
    this.promotions++;
    if (back) this.pingPong++;
  }

  move(bytes: number, usdPerGb: number, back: boolean): void {
    this.moves++;
    this.bytesMoved += bytes;
    this.usdMoves += (bytes * usdPerGb) / BYTES_PER_GB;
    if (back) this.pingPong++;
  }

  result(policy: PolicyId, headroom: number): RunResult {
    const total = this.usdNodes + this.usdEgress + this.usdMoves;
    return {
      policy,
      headroom,
      scoredS: this.seconds,
      usd: { nodes: this.usdNodes, egress: this.usdEgress, moves: this.usdMoves, total },
      minutesOver: this.minutesOver,
      clockMinutesOver: this.clockMinutesOver,
      latencyMs: {
        mean: this.#latencyMsSum / Math.max(1e-9, this.requests - this.rejected),
        p50: this.#quantile(0.5),
        p99: this.#quantile(0.99),
      },
      requestsOverShare: this.over / Math.max(1e-9, this.requests),
      rejectedShare: this.rejected / Math.max(1e-9, this.requests),
      moves: this.moves,
      promotions: this.promotions,
      bytesCopied: this.bytesCopied,
      pingPong: this.pingPong,
      bytesMoved: this.bytesMoved,
      nodesMean: this.nodeSeconds / Math.max(1e-9, this.seconds),
      nodesStarted: this.nodesStarted,
      certifiedGap: this.#certifiedGap(),
    };
  }

  #certifiedGap(): RunResult['certifiedGap'] {
    const gaps = this.#gaps.map(([, gap]) => gap).sort((a, b) => a - b);
    if (gaps.length === 0) return undefined;
    return {
      median: gaps[gaps.length >> 1]!,
      worst: gaps.at(-1)!,
      rounds: gaps.length,
      byRound: this.#gaps.map(([atS, gap]) => [Math.round(atS), Number(gap.toPrecision(4))]),
    };
  }

  #count(ms: number, requests: number): void {
    const bin = Math.floor(Math.log(Math.max(ms, BIN_FIRST_MS) / BIN_FIRST_MS) / BIN_RATIO);
    this.#bins[Math.min(BINS - 1, bin)]! += requests;
  }

  #quantile(q: number): number {
    let sum = 0;
    for (const count of this.#bins) sum += count;
    let left = q * sum;
    for (let bin = 0; bin < BINS; bin++) {
      left -= this.#bins[bin]!;
      if (left <= 0) return BIN_FIRST_MS * Math.exp((bin + 0.5) * BIN_RATIO);
    }
    return 0;
  }
}
