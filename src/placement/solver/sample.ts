/** Which shards are large, and a few that stand for all: what prices are sought on, and the order in which shards are placed. */
import type { SeededDraws } from '../instance/random.ts';
import type { Problem } from './problem.ts';

/** The most any dimension of each shard needs of an average node. */
function sizesOf(problem: Problem): Float64Array {
  const { shardCount, nodeCount, dims, loadMean, capacity } = problem;
  const inverse = new Float64Array(dims);
  for (let d = 0; d < dims; d++) {
    let sum = 0;
    for (let n = 0; n < nodeCount; n++) sum += capacity[n * 3 + (d % 3)]!;
    inverse[d] = nodeCount / Math.max(sum, Number.MIN_VALUE);
  }
  const size = new Float64Array(shardCount);
  for (let s = 0; s < shardCount; s++)
    for (let d = 0; d < dims; d++) size[s] = Math.max(size[s]!, loadMean[s * dims + d]! * inverse[d]!);
  return size;
}

/** Largest first. */
export function bySize(problem: Problem): Int32Array {
  const size = sizesOf(problem);
  return Int32Array.from(size, (_, s) => s).sort((a, b) => size[b]! - size[a]! || a - b);
}

/** Shards that stand for all, and for how many each. */
export interface Sample {
  shards: Int32Array;
  weights: Float64Array;
}

/** A sample of so many for a sample that is twice as large or more; undefined where it is not. */
export function coarseOf(
  problem: Problem,
  most: number,
  fine: Sample,
  draws: SeededDraws,
): Sample | undefined {
  return fine.shards.length < 2 * most ? undefined : sampleOf(problem, most, draws);
}

/**
 * Shards drawn in proportion to their size (systematically: every so much load), the largest all: the few that carry most of the
 * load decide prices, and one in ten of those drawn evenly would say little.
 */
export function sampleOf(problem: Problem, most: number, draws: SeededDraws): Sample {
  const { shardCount } = problem;
  if (shardCount <= most)
    return {
      shards: Int32Array.from({ length: shardCount }, (_, s) => s),
      weights: new Float64Array(shardCount).fill(1),
    };
  const size = sizesOf(problem);
  let total = 0;
  for (let s = 0; s < shardCount; s++) total += size[s]!;
  // Small ones are many and count too: half of a shard's chance is even.
  const even = total / shardCount;
  for (let s = 0; s < shardCount; s++) size[s] = (size[s]! + even) / 2;
  const step = total / most;
  const shards = new Int32Array(most + 1);
  const weights = new Float64Array(most + 1);
  let count = 0;
  let until = draws.next() * step;
  for (let s = 0; s < shardCount && count <= most; s++) {
    until -= size[s]!;
    if (until > 0) continue;
    until += step * Math.ceil((-until + Number.MIN_VALUE) / step);
    shards[count] = s;
    weights[count++] = Math.max(1, step / size[s]!);
  }
  return { shards: shards.slice(0, count), weights: weights.slice(0, count) };
}
