/**
 * The people of the demo: real HTTP to the gateway of each person's region, as a process of its own.
 *
 * Open loop: arrivals come when the formula says, whether earlier ones were answered or not, and latency counts from
 * that moment. No retries: any answer but 2xx, a broken connection and a time-out are failures. One person sends the
 * next command on a key only after the former's answer, so numbers are gapless unless something is lost; an arrival
 * for a person who still waits, waits too, and its latency counts from when it was due.
 *
 *   parent --LoadOrder--> this process --LoadReport each second--> parent ... LoadDone
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DDSketch } from '@datadog/sketches-js';
import { Pool } from 'undici';
import type { Region } from '../../src/model/ids.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { type Arrival, keyName, LoadFormula, type LoadOptions } from './load-formula.ts';
import { RequestLog } from './request-log.ts';
import { readTrace, traceShape } from './trace.ts';

export interface LoadOrder extends Omit<LoadOptions, 'shape'> {
  trace?: string;
  forS: number;
  /** Region -> `http://host:port`. */
  gateways: Record<Region, string>;
  /** Where `acknowledged.json` and `requests.bin` are written at the end. */
  outDirectory: string;
}

export interface OriginReport {
  requests: number;
  failed: number;
  /** Over the last {@link LIVE_WINDOW_S} seconds. */
  p50Ms: number;
  p99Ms: number;
}

export interface LoadReport {
  type: 'report';
  atS: number;
  /** Requests that were due in the last second. */
  requestsPerSecond: number;
  totalRequests: number;
  totalFailed: number;
  acknowledged: number;
  inFlight: number;
  byOrigin: Record<Region, OriginReport>;
  /** The latest failure, for people. */
  lastFailure?: string;
}

export interface LoadDone {
  type: 'done';
  requests: number;
  failed: number;
  acknowledged: number;
  /** Wall clock at the start of the load. */
  startedAtMs: number;
  /** The first failures, in words. */
  failures: string[];
}

export type LoadMessage = LoadReport | LoadDone | { type: 'started'; startedAtMs: number };

/** Requests under way in all; beyond it an arrival fails at once: the cluster is too far behind to be asked more. */
export const IN_FLIGHT_MAX = 4096;
export const CONNECTIONS_PER_GATEWAY = 128;
export const REQUEST_TIMEOUT_MS = 30_000;
/** The live screen's quantiles look back this far. */
export const LIVE_WINDOW_S = 5;
const FAILURES_KEPT = 20;
const SENT_IN_TURN_MAX = 32;

interface Person {
  next: number;
  waiting: Arrival[];
  busy: boolean;
}

class LoadGenerator {
  readonly #order: LoadOrder;
  readonly #formula: LoadFormula;
  readonly #pools: Pool[];
  readonly #log = new RequestLog();
  readonly #acknowledgements = new Acknowledgements();
  readonly #people = new Map<string, Person>();
  readonly #live: { sketch: DDSketch; requests: number; failed: number }[][] = [];
  readonly #failures: string[] = [];
  #startMs = 0;
  #inFlight = 0;
  #requests = 0;
  #failed = 0;
  #dueThisSecond = 0;
  #lastFailure: string | undefined;
  #idle: (() => void) | undefined;

  constructor(order: LoadOrder) {
    this.#order = order;
    this.#formula = new LoadFormula({
      ...order,
      shape: order.trace === undefined ? undefined : traceShape(readTrace(order.trace)),
    });
    this.#pools = this.#formula.regions.map((region) => {
      const gateway = order.gateways[region];
      if (gateway === undefined) throw new Error(`the load comes from ${region}, which has no gateway`);
      return new Pool(gateway, {
        connections: CONNECTIONS_PER_GATEWAY,
        pipelining: 1,
        headersTimeout: REQUEST_TIMEOUT_MS,
        bodyTimeout: REQUEST_TIMEOUT_MS,
      });
    });
  }

  async run(): Promise<LoadDone> {
    const startedAtMs = Date.now();
    this.#startMs = performance.now();
    send({ type: 'started', startedAtMs });
    this.#newWindow();
    const reporting = setInterval(() => this.#report(), 1000);
    let sentInTurn = 0;
    for (const arrival of this.#formula.arrivals(this.#order.forS)) {
      const waitMs = arrival.atMs - this.#nowMs();
      // Timers round to whole milliseconds: sleep short, never late, and send what is due at once.
      if (waitMs >= 1) await new Promise((resolve) => setTimeout(resolve, Math.floor(waitMs)));
      // Behind its times, it still lets answers in between.
      else if (sentInTurn >= SENT_IN_TURN_MAX) await new Promise((resolve) => setImmediate(resolve));
      sentInTurn = waitMs >= 1 || sentInTurn >= SENT_IN_TURN_MAX ? 0 : sentInTurn + 1;
      this.#arrive(arrival);
    }
    const leftMs = this.#order.forS * 1000 - this.#nowMs();
    if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    clearInterval(reporting);
    this.#report();
    await Promise.all(this.#pools.map((pool) => pool.close()));
    writeFileSync(join(this.#order.outDirectory, 'requests.bin'), this.#log.bytes());
    writeFileSync(
      join(this.#order.outDirectory, 'acknowledged.json'),
      JSON.stringify(this.#acknowledgements),
    );
    return {
      type: 'done',
      requests: this.#requests,
      failed: this.#failed,
      acknowledged: this.#acknowledgements.acknowledged,
      startedAtMs,
      failures: this.#failures,
    };
  }

  #nowMs(): number {
    return performance.now() - this.#startMs;
  }

  #arrive(arrival: Arrival): void {
    this.#dueThisSecond++;
    this.#requests++;
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      this.#finish(arrival, `not sent: ${IN_FLIGHT_MAX} requests are under way`, undefined);
      return;
    }
    this.#inFlight++;
    if (!arrival.command) {
      void this.#query(arrival);
      return;
    }
    const id = `${arrival.key}.${personName(arrival)}`;
    let person = this.#people.get(id);
    if (!person) {
      person = { next: 1, waiting: [], busy: false };
      this.#people.set(id, person);
    }
    if (person.busy) person.waiting.push(arrival);
    else void this.#speak(person, arrival);
  }

  async #query(arrival: Arrival): Promise<void> {
    const [failure, servedBy] = await this.#send(arrival, 'GET', 'read', null);
    this.#finish(arrival, failure, servedBy);
    this.#leave();
  }

  /** Commands of one person on one key, one after the other. */
  async #speak(person: Person, first: Arrival): Promise<void> {
    person.busy = true;
    for (let arrival: Arrival | undefined = first; arrival; arrival = person.waiting.shift()) {
      const name = personName(arrival);
      const number = person.next++;
      const body = `{"person":"${name}","number":${number}}`;
      const [failure, servedBy] = await this.#send(arrival, 'POST', 'say', body);
      const outcome = failure === undefined ? 'acknowledged' : 'unknown';
      this.#acknowledgements.note(keyName(arrival.key), name, number, outcome);
      this.#finish(arrival, failure, servedBy);
      this.#leave();
    }
    person.busy = false;
  }

  /** What went wrong, if anything, and who served it, if the answer says so. */
  async #send(
    arrival: Arrival,
    method: 'GET' | 'POST',
    handler: string,
    body: string | null,
  ): Promise<[failure: string | undefined, servedBy: string | undefined]> {
    const path = `/room/${keyName(arrival.key)}/${handler}`;
    try {
      const reply = await this.#pools[arrival.origin]!.request({
        method,
        path,
        body,
        headers: {
          'skein-user': `${keyName(arrival.key)}.${personName(arrival)}`,
          ...(body === null ? {} : { 'content-type': 'application/json' }),
        },
      });
      const servedBy = reply.headers['skein-served-by'];
      if (reply.statusCode >= 200 && reply.statusCode < 300) {
        await reply.body.dump();
        return [undefined, typeof servedBy === 'string' ? servedBy : undefined];
      }
      const text = (await reply.body.text()).slice(0, 200);
      return [`${method} ${path} was answered ${reply.statusCode}: ${text}`, undefined];
    } catch (error) {
      return [`${method} ${path} got no answer: ${(error as Error).message}`, undefined];
    }
  }

  #finish(arrival: Arrival, failure: string | undefined, servedBy: string | undefined): void {
    const latencyMs = Math.max(0, this.#nowMs() - arrival.atMs);
    this.#log.add({
      scheduledMs: arrival.atMs,
      latencyMs,
      origin: arrival.origin,
      key: arrival.key,
      command: arrival.command,
      failed: failure !== undefined,
      served: this.#regionIndexOf(servedBy),
    });
    const live = this.#live.at(-1)![arrival.origin]!;
    live.requests++;
    if (failure === undefined) {
      live.sketch.accept(latencyMs);
      return;
    }
    this.#failed++;
    live.failed++;
    this.#lastFailure = failure;
    if (this.#failures.length < FAILURES_KEPT) this.#failures.push(failure);
  }

  /** Nodes are named after their region: `us-east-1-n1.k3f9x0`. */
  #regionIndexOf(servedBy: string | undefined): number | undefined {
    if (servedBy === undefined) return undefined;
    const index = this.#formula.regions.findIndex((region) => servedBy.startsWith(`${region}-`));
    return index < 0 ? undefined : index;
  }

  #leave(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#idle?.();
  }

  #newWindow(): void {
    this.#live.push(
      this.#formula.regions.map(() => ({
        sketch: new DDSketch({ relativeAccuracy: 0.02 }),
        requests: 0,
        failed: 0,
      })),
    );
    if (this.#live.length > LIVE_WINDOW_S) this.#live.shift();
  }

  #report(): void {
    const byOrigin: Record<Region, OriginReport> = {};
    for (const [r, region] of this.#formula.regions.entries()) {
      const sketch = new DDSketch({ relativeAccuracy: 0.02 });
      let requests = 0;
      let failed = 0;
      for (const window of this.#live) {
        const live = window[r]!;
        if (live.sketch.count > 0) sketch.merge(live.sketch);
        requests += live.requests;
        failed += live.failed;
      }
      byOrigin[region] = {
        requests,
        failed,
        p50Ms: sketch.count > 0 ? sketch.getValueAtQuantile(0.5) : 0,
        p99Ms: sketch.count > 0 ? sketch.getValueAtQuantile(0.99) : 0,
      };
    }
    send({
      type: 'report',
      atS: this.#nowMs() / 1000,
      requestsPerSecond: this.#dueThisSecond,
      totalRequests: this.#requests,
      totalFailed: this.#failed,
      acknowledged: this.#acknowledgements.acknowledged,
      inFlight: this.#inFlight,
      byOrigin,
      lastFailure: this.#lastFailure,
    });
    this.#dueThisSecond = 0;
    this.#newWindow();
  }
}

/** One person of a key and an origin. */
function personName(arrival: Arrival): string {
  return `${arrival.origin}.${arrival.user}`;
}

function send(message: LoadMessage): void {
  process.send?.(message);
}

process.once('message', (order: LoadOrder) => {
  new LoadGenerator(order).run().then(
    (done) => {
      process.send?.(done, () => process.exit(0));
    },
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// The parent is gone: nobody reads the figures any more.
process.once('disconnect', () => process.exit(1));
// Ctrl-C reaches the whole terminal; the parent decides when the load ends.
process.on('SIGINT', () => {});
