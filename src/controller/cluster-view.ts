/**
 * The cluster as the control store tells it: nodes, assignments, shifts, cordons, quarantines, gateways, cells, declared signals, settings.
 *
 * A mirror by list and watch. It may be late, never wrong for long: nothing is decided by it that a compare-and-swap
 * does not check again. Assignments are indexed by primary, so that a node's shards are at hand when it dies.
 * Invariant: `#byPrimary` holds exactly the shards of `#assignments`, grouped by their primary.
 */
import { type Clock, type Log, sleep } from '../io/io.ts';
import type { NodeName, ProcessId, ShardId } from '../model/ids.ts';
import {
  type Assignment,
  type AssignmentRecord,
  type CellRecord,
  CONTROL_KEYS,
  type CordonRecord,
  decodeRecord,
  type GatewayRecord,
  type NodeRecord,
  type QuarantineRecord,
  type ShiftRecord,
  shardOfKey,
} from '../model/records.ts';
import type { ControlStore, KeyValue, Subscription, WatchEvent } from '../store/store.ts';
import { type ControllerSettings, SETTINGS_KEY, SETTINGS_PREFIX } from './settings.ts';
import { type DeclaredSignal, SIGNAL_PREFIX } from './signals.ts';

const PREFIXES = [
  'own/',
  'node/',
  'shift/',
  'cordon/',
  'quarantine/',
  'gateway/',
  'cell/',
  SETTINGS_PREFIX,
  SIGNAL_PREFIX,
] as const;
/** Keys a page while listing: a page of assignments is about 300 KB. */
const LIST_PAGE = 2_000;
const RETRY_MS = 250;

/** What changed since the last {@link ClusterView.takeChanges}: what the loop's engine is told a tick. */
export interface AssignmentChanges {
  /** Forget everything known before applying `put`. */
  reset: boolean;
  put: Assignment[];
  gone: ShardId[];
}

export interface ClusterViewEvents {
  nodeJoined(node: NodeRecord): void;
  nodeChanged(node: NodeRecord, before: NodeRecord): void;
  /** The node key is gone: its process is dead, or lost its lease. `shards` are those it was primary of. */
  nodeGone(node: NodeRecord, shards: Assignment[]): void;
  settingsChanged(settings: ControllerSettings): void;
}

export class ClusterView {
  readonly nodes = new Map<ProcessId, NodeRecord>();
  readonly shifts = new Map<ShardId, ShiftRecord>();
  readonly cordons = new Map<NodeName, CordonRecord>();
  readonly quarantines = new Map<ShardId, QuarantineRecord>();
  readonly gateways = new Map<string, GatewayRecord>();
  readonly cells = new Map<string, CellRecord>();
  readonly signals = new Map<string, DeclaredSignal>();
  settings: ControllerSettings | undefined;
  readonly #assignments = new Map<ShardId, Assignment>();
  readonly #byPrimary = new Map<ProcessId, Set<ShardId>>();
  readonly #control: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: ClusterViewEvents;
  readonly #changed = new Set<ShardId>();
  #resetPending = true;
  #subscription: Subscription | undefined;
  #stopped = false;
  #ready = false;
  #loading = false;
  #whenReady: Promise<void>;
  #resolveReady: () => void = () => {};

  constructor(options: { control: ControlStore; clock: Clock; log: Log; events: ClusterViewEvents }) {
    this.#control = options.control;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#events = options.events;
    this.#whenReady = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
  }

  /** The mirror stands: everything present when `start` was called is in it. */
  get ready(): boolean {
    return this.#ready;
  }

  whenReady(): Promise<void> {
    return this.#whenReady;
  }

  start(): void {
    void this.#load();
  }

  stop(): void {
    this.#stopped = true;
    this.#subscription?.close();
  }

  assignment(shard: ShardId): Assignment | undefined {
    return this.#assignments.get(shard);
  }

  get assignments(): ReadonlyMap<ShardId, Assignment> {
    return this.#assignments;
  }

  shardsOf(primary: ProcessId): ReadonlySet<ShardId> {
    return this.#byPrimary.get(primary) ?? NOTHING;
  }

  /** Primaries named by assignments that have no node key: their shards wait for repair or for a request. */
  deadPrimaries(): ProcessId[] {
    const dead: ProcessId[] = [];
    for (const primary of this.#byPrimary.keys()) if (!this.nodes.has(primary)) dead.push(primary);
    return dead;
  }

  nodeByName(name: NodeName): NodeRecord | undefined {
    // A restarted process registers beside its dead predecessor until the lease ends: the newest is meant.
    let newest: NodeRecord | undefined;
    for (const node of this.nodes.values())
      if (node.name === name && (!newest || node.startedAtMs > newest.startedAtMs)) newest = node;
    return newest;
  }

  takeChanges(): AssignmentChanges {
    if (this.#resetPending) {
      this.#resetPending = false;
      this.#changed.clear();
      return { reset: true, put: [...this.#assignments.values()], gone: [] };
    }
    const changes: AssignmentChanges = { reset: false, put: [], gone: [] };
    for (const shard of this.#changed) {
      const assignment = this.#assignments.get(shard);
      if (assignment) changes.put.push(assignment);
      else changes.gone.push(shard);
    }
    this.#changed.clear();
    return changes;
  }

  /** The next `takeChanges` tells everything again: for an engine that starts afresh. */
  tellEverythingAgain(): void {
    this.#resetPending = true;
  }

  async #load(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    while (!this.#stopped) {
      try {
        const seen = new Set<string>();
        let revision = Number.POSITIVE_INFINITY;
        for (const prefix of PREFIXES) {
          let after: string | undefined;
          for (;;) {
            const page = await this.#control.list(prefix, { limit: LIST_PAGE, after });
            if (this.#stopped) return;
            // Watching from the oldest page's revision replays a little, and applying a change twice is harmless.
            revision = Math.min(revision, page.revision);
            for (const entry of page.entries) {
              seen.add(entry.key);
              this.#put(entry);
            }
            if (page.entries.length < LIST_PAGE) break;
            after = page.entries.at(-1)!.key;
          }
        }
        // What a reset made us miss: keys that are gone. Copied first, since deleting changes what is walked.
        for (const key of [...this.#keys()]) if (!seen.has(key)) this.#delete(key);
        this.#subscription?.close();
        this.#subscription = this.#control.watch([...PREFIXES], revision, (event) => this.#onEvent(event));
        break;
      } catch (error) {
        this.#log.debug({ error: String(error) }, 'the control store cannot be listed yet; trying again');
        await sleep(this.#clock, RETRY_MS);
      }
    }
    this.#loading = false;
    if (!this.#ready && !this.#stopped) {
      this.#ready = true;
      this.#resolveReady();
    }
  }

  #onEvent(event: WatchEvent): void {
    if (this.#stopped) return;
    if (event.type === 'put') this.#put(event.entry);
    else if (event.type === 'delete') this.#delete(event.key);
    else void this.#load();
  }

  *#keys(): Generator<string> {
    for (const id of this.nodes.keys()) yield `node/${id}`;
    for (const name of this.cordons.keys()) yield `cordon/${name}`;
    for (const shard of this.quarantines.keys()) yield `quarantine/${shard}`;
    for (const name of this.gateways.keys()) yield `gateway/${name}`;
    for (const id of this.cells.keys()) yield `cell/${id}`;
    for (const id of this.signals.keys()) yield SIGNAL_PREFIX + id;
    if (this.settings) yield SETTINGS_KEY;
    for (const shard of this.#assignments.keys()) yield CONTROL_KEYS.own(shard);
    for (const shard of this.shifts.keys()) yield CONTROL_KEYS.shift(shard);
  }

  #put(entry: KeyValue): void {
    const { key } = entry;
    const rest = key.slice(key.indexOf('/') + 1);
    if (key.startsWith('own/')) {
      const shard = shardOfKey(key);
      const before = this.#assignments.get(shard);
      if (before && before.version >= entry.version) return;
      const record = decodeRecord<AssignmentRecord>(entry.value);
      if (before && before.primary !== record.primary) this.#unindex(shard, before.primary);
      this.#assignments.set(shard, { ...record, shard, version: entry.version });
      let shards = this.#byPrimary.get(record.primary);
      if (!shards) {
        shards = new Set();
        this.#byPrimary.set(record.primary, shards);
      }
      shards.add(shard);
      this.#changed.add(shard);
    } else if (key.startsWith('node/')) {
      const node = decodeRecord<NodeRecord>(entry.value);
      const before = this.nodes.get(node.processId);
      this.nodes.set(node.processId, node);
      if (!before) this.#events.nodeJoined(node);
      else if (before.state !== node.state) this.#events.nodeChanged(node, before);
    } else if (key.startsWith('shift/')) this.shifts.set(shardOfKey(key), decodeRecord(entry.value));
    else if (key.startsWith('cordon/')) this.cordons.set(rest, decodeRecord(entry.value));
    else if (key.startsWith('quarantine/')) this.quarantines.set(rest, decodeRecord(entry.value));
    else if (key.startsWith('gateway/')) this.gateways.set(rest, decodeRecord(entry.value));
    else if (key.startsWith('cell/')) this.cells.set(rest, decodeRecord(entry.value));
    else if (key.startsWith(SIGNAL_PREFIX)) this.signals.set(rest, decodeRecord(entry.value));
    else if (key === SETTINGS_KEY) {
      this.settings = decodeRecord(entry.value);
      this.#events.settingsChanged(this.settings!);
    }
  }

  #delete(key: string): void {
    const rest = key.slice(key.indexOf('/') + 1);
    if (key.startsWith('own/')) {
      const shard = shardOfKey(key);
      const before = this.#assignments.get(shard);
      if (!before) return;
      this.#assignments.delete(shard);
      this.#unindex(shard, before.primary);
      this.#changed.add(shard);
    } else if (key.startsWith('node/')) {
      const node = this.nodes.get(rest);
      if (!node) return;
      this.nodes.delete(rest);
      const shards: Assignment[] = [];
      for (const shard of this.shardsOf(rest)) shards.push(this.#assignments.get(shard)!);
      this.#events.nodeGone(node, shards);
    } else if (key.startsWith('shift/')) this.shifts.delete(shardOfKey(key));
    else if (key.startsWith('cordon/')) this.cordons.delete(rest);
    else if (key.startsWith('quarantine/')) this.quarantines.delete(rest);
    else if (key.startsWith('gateway/')) this.gateways.delete(rest);
    else if (key.startsWith('cell/')) this.cells.delete(rest);
    else if (key.startsWith(SIGNAL_PREFIX)) this.signals.delete(rest);
    else if (key === SETTINGS_KEY) this.settings = undefined;
  }

  #unindex(shard: ShardId, primary: ProcessId): void {
    const shards = this.#byPrimary.get(primary);
    shards?.delete(shard);
    if (shards?.size === 0) this.#byPrimary.delete(primary);
  }
}

const NOTHING: ReadonlySet<ShardId> = new Set();
