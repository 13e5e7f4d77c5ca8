/**
 * What the control store holds: one type a record, its key, and how it is written and read.
 *
 * Values are JSON text, so that `etcdctl get` or `sqlite3` shows an operator what is there.
 */
import {
  bucketOf,
  type CellId,
  type Epoch,
  type NodeName,
  type ProcessId,
  type Region,
  type ShardId,
  type Zone,
} from './ids.ts';

/** `node/<processId>`: a process that hosts replicas; lives under its lease. */
export interface NodeRecord {
  processId: ProcessId;
  name: NodeName;
  region: Region;
  zone: Zone;
  /** Where its wire listener is: `127.0.0.1:20101`. */
  address: string;
  /** Where it takes plain HTTP: `127.0.0.1:20201`. */
  httpAddress: string;
  leaseId: string;
  /** `draining` nodes serve what they have and take nothing new. */
  state: 'ready' | 'draining';
  capacity: Resources;
  usdPerHour: number;
  /** What this build can serve; placement keeps newer state off older builds. */
  services: Record<string, ServiceManifest>;
  startedAtMs: number;
}

/** CPU in core-seconds a second, memory in bytes, network in bytes a second. */
export interface Resources {
  cpu: number;
  memoryBytes: number;
  networkBytesPerSecond: number;
}

/** What gateways and placement need to know of a service without loading its code. */
export interface ServiceManifest {
  version: number;
  handlers: Record<string, 'command' | 'query'>;
  /** The app has an `authorize` hook, so gateways must pass request headers on. */
  authorize: boolean;
  /** Regions the service's shards may live in; absent: anywhere. */
  allowedRegions?: Region[];
  /** Copies of a shard kept up to date beside its primary; absent: none. */
  standbys?: StandbyPolicy;
  /** A standby may answer queries that allow it, from a state at most so old; absent: never. */
  staleReads?: { atMostMs: number };
}

/** How many standbys a shard has, and what they must not share with its primary and with each other if avoidable. */
export interface StandbyPolicy {
  count: number;
  /** `zones`: other zones of the primary's region. `regions`: other regions, as far as the service allows them. */
  spread: 'zones' | 'regions';
}

/** `own/<bucket>/<shard>`: who may write the shard (OWNERSHIP rule 1). The revision of the key is its version. */
export interface AssignmentRecord {
  epoch: Epoch;
  primary: ProcessId;
  cell: CellId;
  /** Processes that keep a copy, the one that should take over first in front. */
  standbys: ProcessId[];
}

/** An assignment together with the revision that every change of it must compare. */
export interface Assignment extends AssignmentRecord {
  shard: ShardId;
  version: number;
}

/** `shift/<bucket>/<shard>`: share of users whose requests go to `to` while a migration runs. */
export interface ShiftRecord {
  migration: string;
  from: ProcessId;
  to: ProcessId;
  /** 0 to 100. */
  percent: number;
}

/** `cell/<cellId>`: where a cell is reached. */
export interface CellRecord {
  region: Region;
  address: string;
}

/** `gateway/<name>`: lives under its lease, for the API and `skein node list`. */
export interface GatewayRecord {
  name: string;
  region: Region;
  httpAddress: string;
  startedAtMs: number;
}

/** `quarantine/<shard>`: a shard whose command was running at two node deaths. */
export interface QuarantineRecord {
  shard: ShardId;
  handler: string;
  idempotencyKey?: string;
  /** Processes that died while running it. */
  deaths: ProcessId[];
  /** Two deaths: commands are refused until an operator releases the shard. */
  quarantined: boolean;
  sinceMs: number;
}

/** `cordon/<nodeName>`: placement puts nothing new there. */
export interface CordonRecord {
  reason: string;
  sinceMs: number;
}

export const CONTROL_KEYS = {
  node: (process: ProcessId) => `node/${process}`,
  own: (shard: ShardId) => `own/${bucketOf(shard)}/${shard}`,
  shift: (shard: ShardId) => `shift/${bucketOf(shard)}/${shard}`,
  cell: (cell: CellId) => `cell/${cell}`,
  gateway: (name: string) => `gateway/${name}`,
  migration: (id: string) => `migration/${id}`,
  quarantine: (shard: ShardId) => `quarantine/${shard}`,
  cordon: (node: NodeName) => `cordon/${node}`,
  leader: () => 'leader/controller',
} as const;

/** The shard named by an `own/` or `shift/` key. */
export function shardOfKey(key: string): ShardId {
  return key.slice(key.indexOf('/', key.indexOf('/') + 1) + 1);
}

export function encodeRecord(record: object): string {
  return JSON.stringify(record);
}

export function decodeRecord<T>(value: string): T {
  return JSON.parse(value) as T;
}

/** An assignment as a line of a log or a table. */
export function formatAssignment(a: Assignment): string {
  return `${a.shard} epoch=${a.epoch} primary=${a.primary} cell=${a.cell} version=${a.version}`;
}
