/**
 * What this node believes of the control store: nodes, quarantined shards, and a bounded part of the assignments.
 *
 * Fed by one watch, completed by look-ups on a miss. Belief may be late and is never trusted for ownership: every
 * change compares versions. An entry never goes back to an older version, whatever order look-ups and events come in.
 */
import type { Io } from '../io/io.ts';
import type { CellId, ProcessId, Region, ShardId } from '../model/ids.ts';
import {
  type Assignment,
  type AssignmentRecord,
  type CellRecord,
  CONTROL_KEYS,
  decodeRecord,
  type NodeRecord,
  type QuarantineRecord,
  shardOfKey,
} from '../model/records.ts';
import type { ControlStore, KeyValue, Subscription, WatchEvent } from '../store/store.ts';

const ASSIGNMENTS_MAX = 100_000;
const LIST_PAGE = 1_000;
const RETRY_DELAY_MS = 200;
/** Dead processes of which it is remembered what ended them. */
const BLAMED_MAX = 64;
/** Dead processes that are remembered as such; of others the control store is asked. */
const GONE_MAX = 1_000;

interface Versioned<T> {
  version: number;
  record: T;
}

export interface AssignmentsOptions {
  io: Pick<Io, 'clock' | 'log'>;
  control: ControlStore;
  /** Whether this node has a replica of the shard: only then is every news of it decoded. */
  holds: (shard: ShardId) => boolean;
  /** News of a shard held here, from the watch or learnt otherwise. */
  onAssignment: (assignment: Assignment) => void;
  /** A node's key is gone: connections to it can be closed. */
  onNodeGone: (node: NodeRecord) => void;
  /** History is gone: what is held here must be read again. */
  onReset: () => void;
  assignmentsMax?: number;
}

export class Assignments {
  readonly #options: AssignmentsOptions;
  readonly #max: number;
  readonly #assignments = new Map<ShardId, Assignment>();
  readonly #nodes = new Map<ProcessId, Versioned<NodeRecord>>();
  readonly #cells = new Map<string, Versioned<CellRecord>>();
  readonly #quarantined = new Map<ShardId, Versioned<QuarantineRecord>>();
  /** Dead process -> the shard whose command ended it. */
  readonly #blamed = new Map<ProcessId, Promise<ShardId | undefined>>();
  /** Processes whose node key is gone, as far as anybody told; bounded. */
  readonly #gone = new Set<ProcessId>();
  readonly #lookUps = new Map<ShardId, Promise<Assignment | undefined>>();
  /** Shards whose assignment is being read or written: what the watch says of them meanwhile must be kept. */
  readonly #awaited = new Map<ShardId, number>();
  #subscription: Subscription | undefined;
  #closed = false;

  constructor(options: AssignmentsOptions) {
    this.#options = options;
    this.#max = options.assignmentsMax ?? ASSIGNMENTS_MAX;
  }

  async start(): Promise<void> {
    let revision = 0;
    while (!this.#closed) {
      try {
        revision = await this.#readLists();
        break;
      } catch (error) {
        this.#options.io.log.warn({ error: String(error) }, 'the control store gave no lists; trying again');
        await new Promise<void>((resolve) => {
          this.#options.io.clock.setTimer(RETRY_DELAY_MS, resolve);
        });
      }
    }
    if (this.#closed) return;
    this.#subscription = this.#options.control.watch(
      ['own/', 'node/', 'cell/', 'quarantine/'],
      revision,
      (event) => this.#onEvent(event),
    );
  }

  close(): void {
    this.#closed = true;
    this.#subscription?.close();
  }

  // ---- reading

  assignment(shard: ShardId): Assignment | undefined {
    return this.#assignments.get(shard);
  }

  /** From the control store; concurrent ones for one shard share the way. */
  lookUp(shard: ShardId): Promise<Assignment | undefined> {
    let under = this.#lookUps.get(shard);
    if (under === undefined) {
      under = this.#options.control.get(CONTROL_KEYS.own(shard)).then((entry) => {
        if (entry === undefined) return undefined;
        return this.learn(assignmentOf(entry));
      });
      this.#lookUps.set(shard, under);
      const arrived = this.expect(shard);
      const done = () => {
        this.#lookUps.delete(shard);
        arrived();
      };
      under.then(done, done);
    }
    return under;
  }

  /** Takes an assignment read elsewhere, such as in a transaction; returns the newest one known. */
  learn(assignment: Assignment): Assignment {
    const known = this.#assignments.get(assignment.shard);
    if (known !== undefined && known.version >= assignment.version) return known;
    this.#assignments.delete(assignment.shard);
    this.#assignments.set(assignment.shard, assignment);
    if (this.#assignments.size > this.#max) this.#assignments.delete(this.#assignments.keys().next().value!);
    if (this.#options.holds(assignment.shard)) this.#options.onAssignment(assignment);
    return assignment;
  }

  /** News of the shard is kept until the returned function is called, so that an older answer cannot replace it. */
  expect(shard: ShardId): () => void {
    this.#awaited.set(shard, (this.#awaited.get(shard) ?? 0) + 1);
    return () => {
      const left = this.#awaited.get(shard)! - 1;
      if (left === 0) this.#awaited.delete(shard);
      else this.#awaited.set(shard, left);
    };
  }

  /** The belief was wrong: the next request looks up. */
  forget(shard: ShardId): void {
    this.#assignments.delete(shard);
  }

  node(process: ProcessId): NodeRecord | undefined {
    return this.#nodes.get(process)?.record;
  }

  /** What is believed of a process: `unknown` where no news of it ever came. */
  presence(process: ProcessId): 'present' | 'gone' | 'unknown' {
    if (this.#gone.has(process)) return 'gone';
    return this.#nodes.has(process) ? 'present' : 'unknown';
  }

  /**
   * Somebody saw that the process's node key is gone, perhaps before the watch here tells. Only saves a look-up: a
   * takeover compares (OWNERSHIP rule 1), and when it is refused the look-up corrects this.
   */
  hearGone(process: ProcessId): void {
    this.#gone.delete(process);
    this.#gone.add(process);
    if (this.#gone.size > GONE_MAX) this.#gone.delete(this.#gone.keys().next().value!);
  }

  nodes(): NodeRecord[] {
    return [...this.#nodes.values()].map(({ record }) => record);
  }

  /** Reads one node's key: after a doubt, before a takeover that would only be refused. */
  async lookUpNode(process: ProcessId): Promise<NodeRecord | undefined> {
    const key = CONTROL_KEYS.node(process);
    const known = this.#nodes.get(process);
    const entry = await this.#options.control.get(key);
    if (entry !== undefined) this.#put(entry);
    // Not newer than what was known when asking: then it is gone.
    else if (this.#nodes.get(process) === known) this.#dropNode(process);
    return this.node(process);
  }

  cell(id: string): CellRecord | undefined {
    return this.#cells.get(id)?.record;
  }

  cellsIn(region: Region): CellId[] {
    const found: CellId[] = [];
    for (const [id, { record }] of this.#cells) if (record.region === region) found.push(id);
    return found;
  }

  get anyQuarantined(): boolean {
    return this.#quarantined.size > 0;
  }

  quarantine(shard: ShardId): QuarantineRecord | undefined {
    return this.#quarantined.get(shard)?.record;
  }

  /**
   * Whether a command of another shard is on record as what ended the process: then whoever else was on it is innocent.
   * The record is written before the process ends, but the watch may be behind the look-up that found it gone: so it is
   * read, once a dead process.
   */
  async deathBlamedOnOther(process: ProcessId, shard: ShardId): Promise<boolean> {
    let read = this.#blamed.get(process);
    if (read === undefined) {
      read = this.#readBlamed(process);
      this.#blamed.set(process, read);
      if (this.#blamed.size > BLAMED_MAX) this.#blamed.delete(this.#blamed.keys().next().value!);
    }
    const blamed = await read;
    return blamed !== undefined && blamed !== shard;
  }

  async #readBlamed(process: ProcessId): Promise<ShardId | undefined> {
    try {
      const { entries } = await this.#options.control.list('quarantine/', { limit: LIST_PAGE });
      for (const entry of entries) this.#put(entry);
    } catch {
      // Asked again by the next; meanwhile what the watch told counts.
      this.#blamed.delete(process);
    }
    for (const { record } of this.#quarantined.values()) {
      if (record.deaths.includes(process)) return record.shard;
    }
    return undefined;
  }

  regionOf(process: ProcessId): Region | undefined {
    return this.node(process)?.region;
  }

  // ---- feeding

  async #readLists(): Promise<number> {
    let oldest = Number.POSITIVE_INFINITY;
    for (const prefix of ['node/', 'cell/', 'quarantine/']) {
      const seen = new Set<string>();
      let after: string | undefined;
      let listed = 0;
      let listRevision = 0;
      do {
        const page = await this.#options.control.list(prefix, { limit: LIST_PAGE, after });
        listRevision = page.revision;
        oldest = Math.min(oldest, page.revision);
        for (const entry of page.entries) {
          seen.add(entry.key);
          this.#put(entry);
        }
        listed = page.entries.length;
        after = page.entries.at(-1)?.key;
      } while (listed === LIST_PAGE);
      this.#dropUnseen(prefix, seen, listRevision);
    }
    return oldest;
  }

  /** After a list: what was known before it and is not in it is gone. */
  #dropUnseen(prefix: string, seen: Set<string>, revision: number): void {
    if (prefix === 'node/') {
      for (const [process, { version }] of [...this.#nodes]) {
        if (version <= revision && !seen.has(CONTROL_KEYS.node(process))) this.#dropNode(process);
      }
    } else if (prefix === 'quarantine/') {
      for (const [shard, { version }] of [...this.#quarantined]) {
        if (version <= revision && !seen.has(CONTROL_KEYS.quarantine(shard))) this.#quarantined.delete(shard);
      }
    }
  }

  #onEvent(event: WatchEvent): void {
    if (this.#closed) return;
    if (event.type === 'put') this.#put(event.entry);
    else if (event.type === 'delete') this.#delete(event.key, event.revision);
    else {
      // Assignments are beliefs: dropping them costs a look-up each.
      this.#assignments.clear();
      this.#options.onReset();
      void this.#readListsAgain();
    }
  }

  async #readListsAgain(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#readLists();
        return;
      } catch {
        await new Promise<void>((resolve) => {
          this.#options.io.clock.setTimer(RETRY_DELAY_MS, resolve);
        });
      }
    }
  }

  #put(entry: KeyValue): void {
    const { key, version } = entry;
    if (key.startsWith('own/')) {
      const shard = shardOfKey(key);
      if (this.#assignments.has(shard) || this.#awaited.has(shard) || this.#options.holds(shard)) {
        this.learn(assignmentOf(entry));
      }
    } else if (key.startsWith('node/')) {
      const record = decodeRecord<NodeRecord>(entry.value);
      this.#gone.delete(record.processId);
      setNewer(this.#nodes, record.processId, { version, record });
    } else if (key.startsWith('cell/')) {
      setNewer(this.#cells, key.slice(5), { version, record: decodeRecord<CellRecord>(entry.value) });
    } else if (key.startsWith('quarantine/')) {
      setNewer(this.#quarantined, key.slice(11), {
        version,
        record: decodeRecord<QuarantineRecord>(entry.value),
      });
    }
  }

  #delete(key: string, revision: number): void {
    if (key.startsWith('node/')) {
      const process = key.slice(5);
      const known = this.#nodes.get(process);
      if (known !== undefined && known.version < revision) this.#dropNode(process);
    } else if (key.startsWith('quarantine/')) {
      const known = this.#quarantined.get(key.slice(11));
      if (known !== undefined && known.version < revision) this.#quarantined.delete(key.slice(11));
    } else if (key.startsWith('own/')) this.#assignments.delete(shardOfKey(key));
  }

  #dropNode(process: ProcessId): void {
    const known = this.#nodes.get(process);
    if (known === undefined) return;
    this.#nodes.delete(process);
    this.hearGone(process);
    this.#options.onNodeGone(known.record);
  }
}

export function assignmentOf(entry: KeyValue): Assignment {
  const record = decodeRecord<AssignmentRecord>(entry.value);
  return {
    epoch: record.epoch,
    primary: record.primary,
    cell: record.cell,
    standbys: record.standbys,
    shard: shardOfKey(entry.key),
    version: entry.version,
  };
}

function setNewer<T>(map: Map<string, Versioned<T>>, key: string, value: Versioned<T>): void {
  const known = map.get(key);
  if (known === undefined || known.version < value.version) map.set(key, value);
}
