/**
 * What the members of a group have in common on each node, summed up by dimension: groups of shards that surge together ({@link Problem.together}).
 *
 * Boundary: keeps numbers, prices nothing. Invariant: memory for the pairs of node and group that have had a member; all others read as zero.
 */
import { NOWHERE, type Problem } from './problem.ts';

/** The first row of sums, which nobody writes. */
const ABSENT = 0;
const ROWS_FIRST = 256;

export class GroupSums {
  readonly #problem: Problem;
  /** Row of the sums by `[n * groups + group]`. */
  readonly #rowOf: Int32Array;
  #rows = ABSENT + 1;
  /** `[row * dims + d]`; another array after {@link open}. */
  sums: Float64Array;

  constructor(problem: Problem) {
    this.#problem = problem;
    const groups = problem.together?.groups ?? 0;
    this.#rowOf = new Int32Array(problem.nodeCount * groups);
    this.sums = new Float64Array(groups === 0 ? 0 : ROWS_FIRST * problem.dims);
  }

  /** Where the sums of a shard's group on a node begin, to be read; {@link NOWHERE} for a shard of no group, or for no shard. */
  at(n: number, s: number): number {
    const group = this.#groupOf(s);
    if (group < 0) return NOWHERE;
    return this.#rowOf[n * this.#problem.together!.groups + group]! * this.#problem.dims;
  }

  /** The same, to be written. */
  open(n: number, s: number): number {
    const group = this.#groupOf(s);
    if (group < 0) return NOWHERE;
    const { dims, together } = this.#problem;
    const pair = n * together!.groups + group;
    if (this.#rowOf[pair] === ABSENT) {
      this.#rowOf[pair] = this.#rows++;
      if (this.#rows * dims > this.sums.length) {
        const more = new Float64Array(2 * this.sums.length);
        more.set(this.sums);
        this.sums = more;
      }
    }
    return this.#rowOf[pair]! * dims;
  }

  #groupOf(s: number): number {
    const { together } = this.#problem;
    return together === undefined || s < 0 ? NOWHERE : together.of[s]!;
  }
}
