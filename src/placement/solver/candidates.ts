/**
 * Nodes of each region in the order in which they are worth a look: least pressed first, re-sorted as they fill.
 *
 * Small regions are looked at whole. In large ones a look takes the least pressed ones and a few drawn at random, so that
 * no dimension (a step, a resource) is overlooked for ever. Seeded: the same calls give the same nodes.
 */
import type { SeededDraws } from '../instance/random.ts';
import type { State } from './state.ts';

/** A region with at most so many nodes is looked at whole. */
const WHOLE_MAX = 16;
const LEAST_PRESSED = 10;
const DRAWN = 4;
/** A region is sorted anew after this share of its nodes changed. */
const STALE_SHARE = 0.5;

export class Candidates {
  readonly #state: State;
  readonly #draws: SeededDraws;
  readonly #nodes: Int32Array[];
  readonly #changes: Int32Array;
  readonly #pressure: Float64Array;
  readonly #regionPressure: Float64Array;
  readonly #look = new Int32Array(LEAST_PRESSED + DRAWN);

  constructor(state: State, draws: SeededDraws) {
    this.#state = state;
    this.#draws = draws;
    const { regionCount, nodeCount, nodeRegion, open } = state.problem;
    const lists: number[][] = Array.from({ length: regionCount }, () => []);
    for (let n = 0; n < nodeCount; n++) if (open[n] === 1) lists[nodeRegion[n]!]!.push(n);
    this.#nodes = lists.map((list) => Int32Array.from(list));
    this.#changes = new Int32Array(regionCount).fill(1 << 30);
    this.#pressure = new Float64Array(nodeCount);
    this.#regionPressure = new Float64Array(regionCount);
  }

  /** How many nodes a look takes at most. */
  get most(): number {
    return Math.max(WHOLE_MAX, LEAST_PRESSED + DRAWN);
  }

  /** All open nodes of a region, in no promised order. */
  all(region: number): Int32Array {
    return this.#nodes[region]!;
  }

  /** Nodes to look at; valid until the next call. */
  of(region: number): Int32Array {
    const nodes = this.#nodes[region]!;
    if (nodes.length <= WHOLE_MAX) return nodes;
    if (this.#changes[region]! > STALE_SHARE * nodes.length) this.#sort(region);
    const look = this.#look;
    for (let i = 0; i < LEAST_PRESSED; i++) look[i] = nodes[i]!;
    const rest = nodes.length - LEAST_PRESSED;
    for (let i = 0; i < DRAWN; i++) look[LEAST_PRESSED + i] = nodes[LEAST_PRESSED + this.#draws.below(rest)]!;
    return look;
  }

  /** How pressed a region's least pressed nodes are: tells regions apart that cost the same. */
  pressureOf(region: number): number {
    const nodes = this.#nodes[region]!;
    if (this.#changes[region]! > STALE_SHARE * nodes.length) this.#sort(region);
    return this.#regionPressure[region]!;
  }

  changed(n: number): void {
    this.#changes[this.#state.problem.nodeRegion[n]!]!++;
  }

  #sort(region: number): void {
    const nodes = this.#nodes[region]!;
    const pressure = this.#pressure;
    for (const n of nodes) pressure[n] = this.#state.pressure(n);
    nodes.sort((a, b) => pressure[a]! - pressure[b]! || a - b);
    this.#changes[region] = 0;
    this.#regionPressure[region] = nodes.length > 0 ? pressure[nodes[nodes.length >> 1]!]! : 1;
  }
}
