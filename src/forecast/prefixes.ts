/**
 * What shards of one key prefix have in common: how much a shard of it is asked, and from where. A new shard starts as
 * its prefix is, which starts as its service is.
 *
 * A prefix is what comes before the last `:`, `/` or `-` of a key; it has a profile once {@link PREFIX_SHARDS_MIN} shards
 * share it. Boundary: pure. Invariant: at most {@link PREFIXES_MAX} profiles and {@link CANDIDATES_MAX} counts of others.
 */
import type { ShardId } from '../model/ids.ts';

/** Shards that share a prefix before it says anything. */
export const PREFIX_SHARDS_MIN = 4;
export const PREFIXES_MAX = 4096;
export const CANDIDATES_MAX = 16_384;
/** Shards' worth of belief that a prefix's shards are asked as much as its service's. */
const USUAL_SHARDS = 2;
/** Requests' worth of belief that they are asked from where its service's are. */
const USUAL_REQUESTS = 10;

interface Prefix {
  name: string;
  service: number;
  shards: number;
  /** Decayed requests by origin, as the slow memory of shards. */
  counts: Float64Array;
}

export type PrefixesState = { name: string; service: number; shards: number; counts: number[] }[];

/** Service and key up to the last separator, separators that are percent-encoded among them; undefined without one. */
export function prefixOf(shard: ShardId): string | undefined {
  const slash = shard.indexOf('/');
  let last = -1;
  for (const separator of [':', '/', '-', '%3A', '%2F']) last = Math.max(last, shard.lastIndexOf(separator));
  return slash < 0 || last <= slash + 1 ? undefined : shard.slice(0, last);
}

export class Prefixes {
  readonly #prefixes: Prefix[] = [];
  readonly #index = new Map<string, number>();
  /** How many shards have a prefix that has no profile yet. */
  readonly #candidates = new Map<string, number>();

  /** The profile that a new shard belongs to; -1 for none. */
  join(name: string | undefined, service: number, stride: number): number {
    if (name === undefined) return -1;
    const known = this.#index.get(name);
    if (known !== undefined) {
      this.#prefixes[known]!.shards++;
      return known;
    }
    const shards = (this.#candidates.get(name) ?? 0) + 1;
    if (shards < PREFIX_SHARDS_MIN || this.#prefixes.length >= PREFIXES_MAX) {
      // Keys that end in something of their own each: their counts are worth nothing.
      if (this.#candidates.size >= CANDIDATES_MAX) this.#candidates.clear();
      this.#candidates.set(name, shards);
      return -1;
    }
    this.#candidates.delete(name);
    this.#index.set(name, this.#prefixes.length);
    this.#prefixes.push({ name, service, shards: 1, counts: new Float64Array(stride) });
    return this.#prefixes.length - 1;
  }

  leave(prefix: number): void {
    if (prefix >= 0) this.#prefixes[prefix]!.shards--;
  }

  add(prefix: number, origin: number, requests: number): void {
    if (prefix >= 0) this.#prefixes[prefix]!.counts[origin]! += requests;
  }

  fade(keep: number): void {
    for (const { counts } of this.#prefixes) for (let o = 0; o < counts.length; o++) counts[o]! *= keep;
  }

  widen(stride: number): void {
    for (const prefix of this.#prefixes) {
      const counts = new Float64Array(stride);
      counts.set(prefix.counts.subarray(0, Math.min(stride, prefix.counts.length)));
      prefix.counts = counts;
    }
  }

  /**
   * Share of its service's requests that one shard of the prefix has in the mean; undefined where it says nothing.
   *
   * @param all requests of the service, decayed alike
   * @param shards of the service
   */
  meanShare(prefix: number, all: number, shards: number): number | undefined {
    if (prefix < 0 || !(all > 0)) return undefined;
    const { counts, shards: own } = this.#prefixes[prefix]!;
    let requests = 0;
    for (const count of counts) requests += count;
    return Math.max(1e-12, (requests / all + USUAL_SHARDS / shards) / (Math.max(1, own) + USUAL_SHARDS));
  }

  /** How many times its mean share the prefix has of one origin's requests. */
  mix(prefix: number, origin: number, groupOf: (origin: number) => number, origins: number): number {
    const { counts } = this.#prefixes[prefix]!;
    let requests = 0;
    let all = 0;
    for (let o = 0; o < origins; o++) {
      requests += counts[o]!;
      all += groupOf(o);
    }
    if (!(requests > 0) || !(all > 0)) return 1;
    const mean = requests / all;
    return (counts[origin]! + USUAL_REQUESTS) / (groupOf(origin) * mean + USUAL_REQUESTS);
  }

  save(): PrefixesState {
    return this.#prefixes.map((prefix) => ({
      ...prefix,
      counts: Array.from(prefix.counts, (count) => Number(count.toPrecision(4))),
    }));
  }

  load(state: PrefixesState, stride: number): void {
    this.#prefixes.length = 0;
    this.#index.clear();
    for (const { counts, ...rest } of state) {
      const own = new Float64Array(Math.max(stride, counts.length));
      own.set(counts);
      this.#index.set(rest.name, this.#prefixes.length);
      this.#prefixes.push({ ...rest, counts: own });
    }
  }
}
