/**
 * Which heads of shards (key prefixes, or single shards) surge in the same steps though no name tells: backups of one owner, shops of one sale, feeds
 * that hang on one source. Two that surged together nine times of ten will again, and their bands do not even out on one node.
 *
 * Held is, of pairs that were both far beyond their forecasts in a step, the decayed sum of their surprises' products, against what
 * each had by itself: the cosine of their surges, 0 for those that never met, 1 for those that always do. Surges are rare, so few pairs are ever touched.
 * Heads are clustered by it from the strongest pair down, as long as the mean over all pairs between two clusters is strong (average linkage: Sokal
 * and Michener 1958).
 *
 * Boundary: pure. Invariants: cosines from 0 to 1, little evidence says little; a step costs at most {@link SURGING_MAX} squared / 2 pairs; at most
 * {@link PAIRS_MAX} pairs and {@link HEADS_MAX} heads are held; the same surges in the same order give the same clusters.
 */

/** Heads held; of more, those that surged least of late are forgotten. */
export const HEADS_MAX = 4096;
/** Pairs held; of more, those with the least are forgotten. */
export const PAIRS_MAX = 16_384;
/** Heads of one step that count as surging; where more do, those with the most: what all do at once is no cluster. */
export const SURGING_MAX = 48;
/** Standard deviations beyond the forecast from which a head surges. */
const SURGE_MIN = 1.5;
/** Steps after which a surge weighs a third: most come once a day or seldomer. */
const MEMORY_STEPS = 3000;
/** Belief that heads go each their own way: two surges of four deviations. */
const PRIOR = 2 * 4 ** 2;
/** Clusters are made of pairs, and joined where the mean of all pairs is, at least so close. */
const COSINE_MIN = 0.15;
/** Clusters are made anew after so many steps. */
const CLUSTER_STEPS = 8;
/** The weight of a new surge grows instead of all sums shrinking; from here on they are brought back. */
const WEIGHT_MAX = 1e6;

export interface Cluster {
  /** Its first head by name: stays the same while its heads do. */
  name: string;
  heads: readonly string[];
}

export interface SurgesState {
  heads: [head: string, own: number][];
  /** Indices of two heads, and the sum of their products. */
  pairs: [number, number, number][];
}

export class Surges {
  #heads: string[] = [];
  readonly #index = new Map<string, number>();
  /** Sums of squares of each head's surges. */
  #own: number[] = [];
  /** Sums of products by `first * HEADS_MAX + second`, first before second. */
  #pairs = new Map<number, number>();
  #surging: [index: number, surprise: number][] = [];
  #weight = 1;
  #steps = 0;
  #clusters: Map<string, Cluster> | undefined;

  /** What a head had beyond its forecast in the step at hand, in standard deviations, bounded by who calls. */
  hear(head: string, surprise: number): void {
    if (!(surprise >= SURGE_MIN)) return;
    let index = this.#index.get(head);
    if (index === undefined) {
      if (this.#heads.length >= HEADS_MAX) return;
      index = this.#add(head, 0);
    }
    this.#surging.push([index, surprise]);
  }

  endStep(): void {
    let surging = this.#surging;
    this.#surging = [];
    for (const [i, surprise] of surging) this.#own[i]! += this.#weight * surprise ** 2;
    if (surging.length > SURGING_MAX)
      surging = surging.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, SURGING_MAX);
    surging.forEach(([i, surprise], k) => {
      for (const [j, other] of surging.slice(k + 1)) {
        const key = Math.min(i, j) * HEADS_MAX + Math.max(i, j);
        this.#pairs.set(key, (this.#pairs.get(key) ?? 0) + this.#weight * surprise * other);
      }
    });
    if (this.#pairs.size > PAIRS_MAX) this.#forget();
    if (this.#heads.length >= HEADS_MAX) this.#forgetHeads();
    this.#weight *= 1 + 1 / MEMORY_STEPS;
    if (this.#weight > WEIGHT_MAX) this.#bringBack();
    this.#steps++;
    if (this.#steps % CLUSTER_STEPS === 0) this.#clusters = undefined;
  }

  /** How far two heads surge together, from 0 to 1. */
  cosine(a: string, b: string): number {
    const i = this.#index.get(a);
    const j = this.#index.get(b);
    return i === undefined || j === undefined || i === j ? 0 : this.#cosine(i, j);
  }

  /** Those it surges with; undefined where there is nobody. */
  clusterOf(head: string): Cluster | undefined {
    this.#clusters ??= this.#cluster();
    return this.#clusters.get(head);
  }

  save(): SurgesState {
    return {
      heads: this.#heads.map((head, i) => [head, this.#own[i]! / this.#weight]),
      pairs: [...this.#pairs].map(([key, sum]) => [
        Math.floor(key / HEADS_MAX),
        key % HEADS_MAX,
        sum / this.#weight,
      ]),
    };
  }

  load({ heads, pairs }: SurgesState): void {
    for (const [head, own] of heads) this.#add(head, own);
    for (const [i, j, sum] of pairs) this.#pairs.set(i * HEADS_MAX + j, sum);
    this.#clusters = undefined;
  }

  #add(head: string, own: number): number {
    this.#index.set(head, this.#heads.length);
    this.#own.push(own);
    return this.#heads.push(head) - 1;
  }

  #cosine(i: number, j: number): number {
    const met = this.#pairs.get(Math.min(i, j) * HEADS_MAX + Math.max(i, j)) ?? 0;
    return met / (Math.sqrt(this.#own[i]! * this.#own[j]!) + PRIOR * this.#weight);
  }

  #cluster(): Map<string, Cluster> {
    const links: { i: number; j: number; cosine: number }[] = [];
    for (const key of this.#pairs.keys()) {
      const [i, j] = [Math.floor(key / HEADS_MAX), key % HEADS_MAX];
      const cosine = this.#cosine(i, j);
      if (cosine >= COSINE_MIN) links.push({ i, j, cosine });
    }
    links.sort((a, b) => b.cosine - a.cosine || a.i - b.i || a.j - b.j);
    const members = new Map<number, number[]>();
    const membersOf = (i: number) => members.get(i) ?? [i];
    for (const { i, j } of links) {
      const [left, right] = [membersOf(i), membersOf(j)];
      if (left === right) continue;
      let sum = 0;
      for (const one of left) for (const other of right) sum += this.#cosine(one, other);
      if (sum < COSINE_MIN * left.length * right.length) continue;
      const joined = [...left, ...right];
      for (const one of joined) members.set(one, joined);
    }
    const clusters = new Map<string, Cluster>();
    for (const indices of new Set(members.values())) {
      const heads = indices.map((i) => this.#heads[i]!).sort();
      for (const head of heads) clusters.set(head, { name: heads[0]!, heads });
    }
    return clusters;
  }

  /** Keeps the stronger half of the pairs. */
  #forget(): void {
    const kept = [...this.#pairs].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, PAIRS_MAX / 2);
    this.#pairs = new Map(kept);
  }

  /** Keeps the half that surged most, in their order. */
  #forgetHeads(): void {
    const order = this.#own.map((_, i) => i).sort((a, b) => this.#own[b]! - this.#own[a]! || a - b);
    const kept = order.slice(0, HEADS_MAX / 2).sort((a, b) => a - b);
    const after = new Map(kept.map((i, k) => [i, k]));
    const heads = kept.map((i) => this.#heads[i]!);
    this.#own = kept.map((i) => this.#own[i]!);
    this.#heads = [];
    this.#index.clear();
    for (const head of heads) this.#index.set(head, this.#heads.push(head) - 1);
    const pairs = new Map<number, number>();
    for (const [key, sum] of this.#pairs) {
      const i = after.get(Math.floor(key / HEADS_MAX));
      const j = after.get(key % HEADS_MAX);
      if (i !== undefined && j !== undefined) pairs.set(i * HEADS_MAX + j, sum);
    }
    this.#pairs = pairs;
    this.#clusters = undefined;
  }

  #bringBack(): void {
    for (const [key, sum] of this.#pairs) this.#pairs.set(key, sum / this.#weight);
    this.#own = this.#own.map((sum) => sum / this.#weight);
    this.#weight = 1;
  }
}
