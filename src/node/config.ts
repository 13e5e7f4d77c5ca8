/**
 * What a node is told about itself, and the named limits of everything it keeps.
 */
import type { CellId, NodeName, ProcessId, Region, Zone } from '../model/ids.ts';
import type { Resources } from '../model/records.ts';

export interface NodeLimits {
  /** Work appended and not yet durable, all shards together; beyond it commands are answered 503. */
  undurableBytesMax: number;
  /** Replicas in memory; beyond it the longest idle ones are passivated at once. */
  residentReplicasMax: number;
  /** A primary without requests for so long leaves memory. */
  idleMs: number;
  /** How long one request may look for a shard's owner before it is answered 503. */
  routeBudgetMs: number;
  /** A cell silent for so long loses its shards here (OWNERSHIP rule 1). */
  cellSilenceMs: number;
  /** A log shorter than this, in bytes of deltas, is replayed rather than replaced by a snapshot. */
  snapshotLogBytesMin: number;
  /** So long a standby may be away before another takes its place: longer than a lease and its renewal. */
  standbyAwayMs: number;
  /** A draining node waits so long for the controller to make progress before it hands shards off itself. */
  drainGraceMs: number;
  /**
   * The drain of a process that ends should be over by then: where the controller's pace would take longer, the node
   * hands off the rest itself.
   */
  drainMsMax: number;
}

export const NODE_LIMITS_DEFAULT: NodeLimits = {
  undurableBytesMax: 64 * 1024 * 1024,
  residentReplicasMax: 200_000,
  idleMs: 120_000,
  routeBudgetMs: 8_000,
  cellSilenceMs: 10_000,
  snapshotLogBytesMin: 64 * 1024,
  standbyAwayMs: 5_000,
  drainGraceMs: 5_000,
  drainMsMax: 20_000,
};

export interface NodeConfig {
  name: NodeName;
  /** Unique per start (OWNERSHIP rule 1). */
  processId: ProcessId;
  region: Region;
  zone: Zone;
  /** Where the wire listener is. */
  address: string;
  /** Where plain HTTP is taken; empty where it is not. */
  httpAddress: string;
  /** Logs of shards claimed here begin in this cell; absent: in one of the region's, spread over those with room. */
  homeCell?: CellId;
  capacity: Resources;
  usdPerHour: number;
  /** Shared by all processes of the cluster. */
  token: string;
  leaseTtlMs?: number;
  /** Core-seconds of the reference machine in one core-second of this one. */
  speed?: number;
  limits?: Partial<NodeLimits>;
}

export const LEASE_TTL_MS_DEFAULT = 3_000;
