/**
 * What a gateway knows of routes: assignments (a bounded cache), shifts, nodes and quarantine. Pure: fed with watch
 * events, look-ups and what replies teach; asked for one shard at a time.
 *
 * Invariants:
 *   T1  at most `assignmentsMax` assignments; the one used longest ago goes first
 *   T2  an assignment is replaced only by a newer one: higher epoch, or the same epoch and a version not lower
 *   T3  a look-up under way never overwrites what a watch event said meanwhile (follows from T2 and `expect`)
 *   T4  a cell is named only beside the epoch, primary and version of one record: what is put together from two of
 *       them, and believed by who takes the shard over, opens an empty log
 *   T5  a stale route is no fault: ownership is decided at the stores, and nodes correct their callers
 */
import { LRUCache } from 'lru-cache';
import type { CellId, Epoch, ProcessId, ShardId } from '../model/ids.ts';
import {
  type AssignmentRecord,
  CONTROL_KEYS,
  decodeRecord,
  type NodeRecord,
  type QuarantineRecord,
  type ServiceManifest,
  type ShiftRecord,
  shardOfKey,
} from '../model/records.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';

export const ASSIGNMENTS_MAX_DEFAULT = 200_000;
/** Shifts under way at once; moves are limited far below. The oldest is forgotten: its users then use the primary. */
export const SHIFTS_MAX = 50_000;

/** An assignment as far as routing needs it. Nodes and cells are shared strings: millions name a few hundred. */
export interface Route {
  readonly epoch: Epoch;
  readonly primary: ProcessId;
  /** Empty where a reply taught the route: it names an epoch and its primary, and the cell may have changed with it. */
  readonly cell: CellId;
  /** Of the control store's key; as last read, where a reply taught a newer epoch. */
  readonly version: number;
  /** Processes with a copy, the first to take over in front; absent: none. */
  readonly standbys?: readonly ProcessId[];
}

export interface RouteShift {
  /** The migration it is of; absent in a table made by hand. */
  readonly migration?: string;
  readonly from: ProcessId;
  readonly to: ProcessId;
  /** 0 to 100. */
  readonly percent: number;
}

/** What changed, for those who wait for it. */
export type RouteChange =
  | { type: 'node-ready'; process: ProcessId }
  | { type: 'node-gone'; process: ProcessId }
  | { type: 'shard'; shard: ShardId };

const NO_STANDBYS = {};
/** What an `own/` key is about, without its value. */
const OWN = 'own/';
const SHIFT = 'shift/';
const NODE = 'node/';
const QUARANTINE = 'quarantine/';

export class RouteTable {
  readonly #routes: LRUCache<ShardId, Route>;
  readonly #shifts = new Map<ShardId, RouteShift & { version: number }>();
  readonly #nodes = new Map<ProcessId, NodeRecord>();
  readonly #quarantine = new Map<ShardId, QuarantineRecord>();
  readonly #interned = new Map<string, string>();
  /** Shards whose look-up is under way: their events are kept even where the cache is full. */
  readonly #expected = new Map<ShardId, number>();
  readonly #assignmentsMax: number;
  #nodeList: readonly NodeRecord[] | undefined;
  #complete = false;

  constructor(options: { assignmentsMax?: number } = {}) {
    this.#assignmentsMax = options.assignmentsMax ?? ASSIGNMENTS_MAX_DEFAULT;
    this.#routes = new LRUCache({ max: this.#assignmentsMax });
  }

  // ---------------------------------------------------------------- asking

  /** The route of a shard, which is now the one used last; undefined where it is not in the cache. */
  route(shard: ShardId): Route | undefined {
    return this.#routes.get(shard);
  }

  shift(shard: ShardId): RouteShift | undefined {
    return this.#shifts.size === 0 ? undefined : this.#shifts.get(shard);
  }

  node(process: ProcessId): NodeRecord | undefined {
    return this.#nodes.get(process);
  }

  /** All nodes, in order of process id. The same array until a node changes. */
  nodes(): readonly NodeRecord[] {
    this.#nodeList ??= [...this.#nodes.values()].sort((a, b) => (a.processId < b.processId ? -1 : 1));
    return this.#nodeList;
  }

  /** Set where the shard takes no commands. */
  quarantined(shard: ShardId): QuarantineRecord | undefined {
    if (this.#quarantine.size === 0) return undefined;
    const record = this.#quarantine.get(shard);
    return record?.quarantined ? record : undefined;
  }

  /** Whether a command of another shard is on record as what killed the process. */
  deathBlamedOnOther(process: ProcessId, shard: ShardId): boolean {
    for (const record of this.#quarantine.values())
      if (record.shard !== shard && record.deaths.includes(process)) return true;
    return false;
  }

  /** What a node's build says of a service; undefined where no known node serves it. */
  manifest(service: string): ServiceManifest | undefined {
    for (const node of this.nodes()) {
      const manifest = node.services[service];
      if (manifest) return manifest;
    }
    return undefined;
  }

  /** Every assignment of the store is in the cache, so that a shard that is not here is assigned to nobody. */
  get complete(): boolean {
    return this.#complete;
  }

  get size(): number {
    return this.#routes.size;
  }

  get full(): boolean {
    return this.#routes.size >= this.#assignmentsMax;
  }

  get shiftCount(): number {
    return this.#shifts.size;
  }

  // ---------------------------------------------------------------- learning

  /**
   * Takes in a watch event. Events may come late, twice and, across prefixes, in any order.
   * A `reset` keeps everything: the caller lists again, and what stays wrong is corrected by nodes (T5).
   */
  apply(event: WatchEvent): RouteChange | undefined {
    if (event.type === 'put') return this.#put(event.entry, false);
    if (event.type === 'delete') return this.#delete(event.key, event.revision);
    this.#complete = false;
    return undefined;
  }

  /** Takes in an entry that was listed or looked up. */
  load(entry: KeyValue): RouteChange | undefined {
    return this.#put(entry, true);
  }

  /**
   * Of the nodes known so far only those listed are there: what a file of an earlier run named may be gone.
   * Returns those that are.
   */
  retainNodes(listed: { has(key: string): boolean }): RouteChange[] {
    const changes: RouteChange[] = [];
    for (const process of [...this.#nodes.keys()]) {
      const key = CONTROL_KEYS.node(process);
      const change = listed.has(key) ? undefined : this.#delete(key, Number.POSITIVE_INFINITY);
      if (change) changes.push(change);
    }
    return changes;
  }

  /** All assignments were listed at one revision and loaded, and everything since is being applied. */
  markComplete(): void {
    this.#complete = !this.full;
  }

  /** A look-up of the shard begins; call the result when it has been loaded, or has failed. */
  expect(shard: ShardId): () => void {
    this.#expected.set(shard, (this.#expected.get(shard) ?? 0) + 1);
    return () => {
      const left = this.#expected.get(shard)! - 1;
      if (left === 0) this.#expected.delete(shard);
      else this.#expected.set(shard, left);
    };
  }

  /**
   * A reply taught that `primary` runs `epoch` of the shard. Only a newer epoch counts, or a shard not in the cache.
   * `version` where the reply knew it (421).
   */
  learn(shard: ShardId, epoch: Epoch, primary: ProcessId, version?: number): RouteChange | undefined {
    const known = this.#routes.peek(shard);
    if (known && (known.epoch > epoch || (known.epoch === epoch && (version ?? 0) <= known.version)))
      return undefined;
    if (known?.epoch === epoch && known.primary === primary) return undefined;
    this.#store(shard, {
      epoch,
      primary: this.#intern(primary),
      cell: '',
      version: version ?? known?.version ?? 0,
      ...this.#standbys(known?.standbys?.filter((process) => process !== primary)),
    });
    return { type: 'shard', shard };
  }

  /** Takes in a route of an earlier run, where nothing newer is known. */
  restore(shard: ShardId, route: Route): void {
    const known = this.#routes.peek(shard);
    if (
      known &&
      (known.epoch > route.epoch || (known.epoch === route.epoch && known.version >= route.version))
    )
      return;
    const { epoch, version } = route;
    this.#store(shard, {
      epoch,
      primary: this.#intern(route.primary),
      cell: this.#intern(route.cell),
      version,
      ...this.#standbys(route.standbys),
    });
  }

  /** Forgets a route that turned out to be wrong, so that the next request looks it up. */
  forget(shard: ShardId): void {
    if (this.#routes.delete(shard)) this.#complete = false;
  }

  /**
   * Routes with the one used last first, for the file that survives a restart. The order is that of the first step;
   * the caller may take its time, while requests go on.
   */
  *routes(): Generator<[ShardId, Route]> {
    for (const shard of [...this.#routes.keys()]) {
      const route = this.#routes.peek(shard);
      if (route) yield [shard, route];
    }
  }

  // ---------------------------------------------------------------- details

  #put(entry: KeyValue, wanted: boolean): RouteChange | undefined {
    const { key } = entry;
    if (key.startsWith(OWN)) return this.#putRoute(shardOfKey(key), entry, wanted);
    if (key.startsWith(SHIFT)) {
      const shard = shardOfKey(key);
      const known = this.#shifts.get(shard);
      if (known && known.version > entry.version) return undefined;
      const { migration, from, to, percent } = decodeRecord<ShiftRecord>(entry.value);
      if (!known && this.#shifts.size >= SHIFTS_MAX) this.#shifts.delete(this.#shifts.keys().next().value!);
      const version = entry.version;
      const sides = { from: this.#intern(from), to: this.#intern(to) };
      this.#shifts.set(shard, { migration, ...sides, percent, version });
      return { type: 'shard', shard };
    }
    if (key.startsWith(NODE)) {
      const process = key.slice(NODE.length);
      this.#nodes.set(process, decodeRecord<NodeRecord>(entry.value));
      this.#nodeList = undefined;
      return { type: 'node-ready', process };
    }
    if (key.startsWith(QUARANTINE)) {
      const record = decodeRecord<QuarantineRecord>(entry.value);
      this.#quarantine.set(key.slice(QUARANTINE.length), record);
    }
    return undefined;
  }

  #putRoute(shard: ShardId, entry: KeyValue, wanted: boolean): RouteChange | undefined {
    const known = this.#routes.peek(shard);
    // A shard that nobody asks for here must not push out one that somebody does.
    if (!known && this.full && !wanted && !this.#expected.has(shard)) {
      this.#complete = false;
      return undefined;
    }
    const { epoch, primary, cell, standbys } = decodeRecord<AssignmentRecord>(entry.value);
    if (known && (known.epoch > epoch || (known.epoch === epoch && known.version > entry.version)))
      return undefined;
    this.#store(shard, {
      epoch,
      primary: this.#intern(primary),
      cell: this.#intern(cell),
      version: entry.version,
      ...this.#standbys(standbys),
    });
    return { type: 'shard', shard };
  }

  /** Nothing at all where there are none: most routes have none, and there are millions. */
  #standbys(standbys: readonly ProcessId[] | undefined): Pick<Route, 'standbys'> {
    if (standbys === undefined || standbys.length === 0) return NO_STANDBYS;
    return { standbys: standbys.map((process) => this.#intern(process)) };
  }

  #store(shard: ShardId, route: Route): void {
    if (this.full && !this.#routes.has(shard)) this.#complete = false;
    this.#routes.set(shard, route);
  }

  #delete(key: string, revision: number): RouteChange | undefined {
    if (key.startsWith(OWN)) {
      const shard = shardOfKey(key);
      const known = this.#routes.peek(shard);
      if (!known || known.version > revision) return undefined;
      this.#routes.delete(shard);
      return { type: 'shard', shard };
    }
    if (key.startsWith(SHIFT)) {
      const shard = shardOfKey(key);
      const known = this.#shifts.get(shard);
      if (!known || known.version > revision) return undefined;
      this.#shifts.delete(shard);
      return { type: 'shard', shard };
    }
    if (key.startsWith(NODE)) {
      const process = key.slice(NODE.length);
      if (!this.#nodes.delete(process)) return undefined;
      this.#nodeList = undefined;
      return { type: 'node-gone', process };
    }
    if (key.startsWith(QUARANTINE)) this.#quarantine.delete(key.slice(QUARANTINE.length));
    return undefined;
  }

  /** One copy of each name, however many records bring it. */
  #intern(name: string): string {
    const known = this.#interned.get(name);
    if (known !== undefined) return known;
    // Process ids come and go: start over rather than keep every one that ever was.
    if (this.#interned.size >= 10_000) this.#interned.clear();
    this.#interned.set(name, name);
    return name;
  }
}
