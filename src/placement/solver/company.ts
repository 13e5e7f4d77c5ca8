/**
 * Which shards are good company for each other on a node: those that vary as much.
 *
 * A node's load at the quantile holds the root of the sum of its replicas' variances, which is concave: one more unsteady shard
 * costs least where there are unsteady ones already. Single steps do not find that, since where all nodes of a region are alike
 * no first step gains. So each shard leans to a node of its region by its dispersion (variance per mean): the steadiest to the
 * first, the unsteadiest to the last. The lean only chooses between nodes of a region that cost nearly the same.
 *
 * Guarantees: no draws; depends on loads and nodes alone, so every round leans the same way.
 */
import type { Problem } from './problem.ts';

/** Dollars an hour of the lean, as a share of what the shard's mean would cost on a full node. Tuned on the benchmark: .03 to 1 differ little. */
const LEAN = 0.1;
/** Classes of dispersion, a factor of 2^(1/4) each: what differs less is the same. */
const CLASSES = 256;
const CLASSES_PER_DOUBLING = 4;

export class Company {
  /** Share of all load that is steadier than the shard's. */
  readonly #rank: Float32Array;
  /** Where a node stands among those of its region, 0 to 1. */
  readonly #stand: Float64Array;
  /** The dimension that is shortest over all nodes. */
  readonly #dim: number;
  /** Of one unit of load in it: the share of a node, times the lean. */
  readonly #perLoad: number;
  readonly #problem: Problem;

  constructor(problem: Problem) {
    const { shardCount, nodeCount, regionCount, nodeRegion, dims, loadMean, capacity } = problem;
    this.#problem = problem;
    this.#rank = new Float32Array(shardCount);
    this.#stand = new Float64Array(nodeCount);
    const total = new Float64Array(dims);
    const whole = new Float64Array(3);
    for (let s = 0; s < shardCount; s++) for (let d = 0; d < dims; d++) total[d]! += loadMean[s * dims + d]!;
    for (let n = 0; n < nodeCount; n++) for (let i = 0; i < 3; i++) whole[i]! += capacity[n * 3 + i]!;
    let shortest = 0;
    for (let d = 1; d < dims; d++)
      if (total[d]! * whole[shortest % 3]! > total[shortest]! * whole[d % 3]!) shortest = d;
    this.#dim = shortest;
    this.#perLoad = total[shortest]! > 0 ? (LEAN * nodeCount) / whole[shortest % 3]! : 0;
    const counts = new Int32Array(regionCount);
    for (let n = 0; n < nodeCount; n++) counts[nodeRegion[n]!]!++;
    const seen = new Int32Array(regionCount);
    for (let n = 0; n < nodeCount; n++) {
      const region = nodeRegion[n]!;
      this.#stand[n] = (seen[region]!++ + 0.5) / counts[region]!;
    }
    if (this.#perLoad > 0) this.#order(total[shortest]!);
  }

  /** What the shard's lean counts at most, for a primary: 0 where it is of no weight. */
  weight(s: number): number {
    return this.#perLoad * this.#problem.loadMean[s * this.#problem.dims + this.#dim]!;
  }

  /** How far a node is from where the shard leans to, squared: 0 to 1. */
  distance(s: number, n: number): number {
    const off = this.#stand[n]! - this.#rank[s]!;
    return off * off;
  }

  #order(total: number): void {
    const { shardCount, dims, loadMean } = this.#problem;
    const load = new Float64Array(CLASSES);
    for (let s = 0; s < shardCount; s++) load[this.#classOf(s)]! += loadMean[s * dims + this.#dim]!;
    let below = 0;
    for (let c = 0; c < CLASSES; c++) {
      const own = load[c]!;
      load[c] = (below + own / 2) / total;
      below += own;
    }
    for (let s = 0; s < shardCount; s++) this.#rank[s] = load[this.#classOf(s)]!;
  }

  #classOf(s: number): number {
    const { dims, loadMean, loadVariance, capacity } = this.#problem;
    const i = s * dims + this.#dim;
    const dispersion = loadVariance[i]! / (loadMean[i]! * capacity[this.#dim % 3]!);
    // A node that were full of it would vary by the root of it: 2^-40 of that is nothing.
    const above = CLASSES_PER_DOUBLING * (40 + Math.log2(dispersion));
    return above > 0 ? Math.min(CLASSES - 1, Math.floor(above)) : 0;
  }
}
