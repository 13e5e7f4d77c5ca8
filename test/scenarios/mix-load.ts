/**
 * Load whose rate is level and whose mix is not: rooms are read all day, and exported from, which takes forty times as
 * long, mostly from 18 to 22 o'clock. What a step takes is known exactly.
 */
import { SeededRandom } from '../../src/io/random.ts';
import type { LoadStep } from '../../src/metrics/step.ts';
import type { HandlerLoad, LoadSample } from '../../src/model/load.ts';
import { poisson } from './demo-load.ts';

/** Of one request: seconds of CPU, bytes out. */
export interface RequestCost {
  cpuSeconds: number;
  bytesOut: number;
}

export const READ: RequestCost = { cpuSeconds: 0.0005, bytesOut: 400 };
export const EXPORT: RequestCost = { cpuSeconds: 0.02, bytesOut: 60_000 };

export interface MixLoadOptions {
  seed: string;
  stepS: number;
  rooms: number;
  /** Requests a step and room. */
  rate: number;
  /** Part of all requests that are exports, by number of step; {@link eveningShare} by default. */
  shareOf?: (number: number) => number;
  /** Only the first so many rooms are ever exported from; all by default. */
  exporters?: number;
  export?: RequestCost;
}

export class MixLoad {
  readonly ids: string[];
  readonly #options: Required<MixLoadOptions>;
  readonly #random: SeededRandom;

  constructor(options: MixLoadOptions) {
    const { stepS, rooms } = options;
    this.#options = {
      shareOf: (number) => eveningShare(number, stepS),
      exporters: rooms,
      export: EXPORT,
      ...options,
    };
    this.ids = Array.from({ length: rooms }, (_, i) => `room/r${i}`);
    this.#random = new SeededRandom(options.seed);
  }

  /** Exports in all requests of a room. */
  share(room: number, number: number): number {
    const { shareOf, rooms, exporters } = this.#options;
    return room < exporters ? Math.min(1, (shareOf(number) * rooms) / exporters) : 0;
  }

  /** True CPU seconds a second that a room takes on average. */
  cpu(room: number, number: number): number {
    const { rate, stepS, export: dear } = this.#options;
    const share = this.share(room, number);
    return (rate / stepS) * (share * dear.cpuSeconds + (1 - share) * READ.cpuSeconds);
  }

  /** Of all rooms. */
  total(number: number): number {
    return this.ids.reduce((sum, _, room) => sum + this.cpu(room, number), 0);
  }

  /** Draws the step that ends at `number * stepS`; its mix is as nodes tell it. */
  step(number: number): LoadStep {
    const { stepS, rate, export: dear } = this.#options;
    const atMs = number * stepS * 1000;
    const shards: LoadSample[] = [];
    let reads = 0;
    let exports = 0;
    this.ids.forEach((shard, room) => {
      const share = this.share(room, number);
      const read = poisson(this.#random, rate * (1 - share));
      const exported = poisson(this.#random, rate * share);
      reads += read;
      exports += exported;
      if (read + exported === 0) return;
      shards.push({
        shard,
        atMs,
        stepMs: stepS * 1000,
        commands: exported,
        queries: read,
        rejected: 0,
        byOrigin: { here: { commands: exported, queries: read } },
        cpuSeconds: read * READ.cpuSeconds + exported * dear.cpuSeconds,
        stateBytes: 1000,
        bytesIn: 50 * (read + exported),
        bytesOut: read * READ.bytesOut + exported * dear.bytesOut,
        writeBytes: 0,
        censored: false,
      });
    });
    const mix = [handlerLoad('read', reads, READ), handlerLoad('export', exports, dear)];
    return {
      number,
      atMs,
      stepS,
      shards,
      missingShare: 0,
      mix: mix.filter(({ requests }) => requests > 0),
    };
  }
}

/** A fifth from 18 to 22 o'clock, else one in two hundred. */
export function eveningShare(number: number, stepS: number): number {
  const hour = ((number * stepS) % 86_400) / 3600;
  return hour >= 18 && hour < 22 ? 0.2 : 0.005;
}

export function handlerLoad(handler: string, requests: number, cost = READ, service = 'room'): HandlerLoad {
  return {
    service,
    handler,
    requests,
    commands: handler === 'export' ? requests : 0,
    cpuSeconds: requests * cost.cpuSeconds,
    bytesIn: requests * 50,
    bytesOut: requests * cost.bytesOut,
    writeBytes: 0,
  };
}

/** The same step, of a node that does not tell its handlers apart. */
export function withoutMix({ mix: _, ...step }: LoadStep): LoadStep {
  return step;
}
