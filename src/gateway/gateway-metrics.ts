/**
 * What a gateway counts, as Prometheus text. Counting is plain arithmetic; prom-client sees it only at a scrape.
 */
import { DDSketch } from '@datadog/sketches-js';
import { Counter, Gauge, Registry } from 'prom-client';

/** Quantiles cover between one and two of these. */
const SKETCH_WINDOW_MS = 60_000;
const QUANTILES = [0.5, 0.9, 0.99, 0.999];

/** Totals since the start. */
export interface GatewayCounts {
  /** By first digit of the status: `byClass[2]` counts 200 to 299. */
  byClass: number[];
  retries: number;
  /** Times a request was running on a node that died. */
  deaths: number;
  /** Refused because too much was under way. */
  overloaded: number;
  lookUps: number;
  latencyMsSum: number;
}

/** What is now. */
export interface GatewayGauges {
  inFlight: number;
  waiting: number;
  routes: number;
  shifts: number;
  nodes: number;
  nodesUnhealthy: number;
}

export class GatewayMetrics {
  readonly counts: GatewayCounts = {
    byClass: [0, 0, 0, 0, 0, 0],
    retries: 0,
    deaths: 0,
    overloaded: 0,
    lookUps: 0,
    latencyMsSum: 0,
  };
  readonly #registry = new Registry();
  #sketch = new DDSketch({ relativeAccuracy: 0.01 });
  #previous = new DDSketch({ relativeAccuracy: 0.01 });
  #rotateAtMs = 0;

  constructor(gauges: () => GatewayGauges) {
    const registers = [this.#registry];
    const counter = (name: string, help: string, read: () => number) => {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    };
    const { counts } = this;
    const gauge = (name: string, help: string, read: () => number) => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    };
    new Counter({
      name: 'skein_gateway_requests_total',
      help: 'Requests answered, by class of status.',
      labelNames: ['status'],
      registers,
      collect() {
        this.reset();
        for (let digit = 2; digit <= 5; digit++) this.inc({ status: `${digit}xx` }, counts.byClass[digit]!);
      },
    });
    counter('skein_gateway_retries_total', 'Tries beyond the first.', () => counts.retries);
    counter('skein_gateway_deaths_total', 'Requests that were on a node when it died.', () => counts.deaths);
    counter(
      'skein_gateway_overloaded_total',
      'Requests refused by a bound of this gateway.',
      () => counts.overloaded,
    );
    counter('skein_gateway_look_ups_total', 'Routes read from the control store.', () => counts.lookUps);
    counter(
      'skein_gateway_latency_seconds_sum',
      'Time from request to reply, summed.',
      () => counts.latencyMsSum / 1_000,
    );
    gauge('skein_gateway_requests_in_flight', 'Requests under way.', () => gauges().inFlight);
    gauge('skein_gateway_requests_waiting', 'Of those, waiting for news of a node.', () => gauges().waiting);
    gauge('skein_gateway_routes', 'Assignments in the cache.', () => gauges().routes);
    gauge('skein_gateway_shifts', 'Migrations that split traffic.', () => gauges().shifts);
    gauge('skein_gateway_nodes', 'Nodes known.', () => gauges().nodes);
    gauge('skein_gateway_nodes_unhealthy', 'Nodes that do not answer.', () => gauges().nodesUnhealthy);
    const quantile = (q: number) => this.#quantileMs(q);
    new Gauge({
      name: 'skein_gateway_latency_seconds',
      help: 'Time from request to reply over the last one to two minutes.',
      labelNames: ['quantile'],
      registers,
      collect() {
        this.reset();
        for (const q of QUANTILES) this.set({ quantile: String(q) }, quantile(q) / 1_000);
      },
    });
  }

  answered(status: number, latencyMs: number, nowMs: number): void {
    this.counts.byClass[Math.trunc(status / 100)]!++;
    this.counts.latencyMsSum += latencyMs;
    if (nowMs >= this.#rotateAtMs) {
      this.#rotateAtMs = nowMs + SKETCH_WINDOW_MS;
      this.#previous = this.#sketch;
      this.#sketch = new DDSketch({ relativeAccuracy: 0.01 });
    }
    this.#sketch.accept(latencyMs);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #quantileMs(q: number): number {
    const both = new DDSketch({ relativeAccuracy: 0.01 });
    both.merge(this.#previous);
    both.merge(this.#sketch);
    const ms = both.getValueAtQuantile(q);
    return Number.isFinite(ms) ? ms : 0;
  }
}
