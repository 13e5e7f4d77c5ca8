/**
 * Words and units of the backtest: what a replayed cluster is made of, and every default with its reason.
 *
 * Boundary: plain data, no behaviour. Rates are requests a second, CPU is core-seconds a second, dollars are US dollars.
 */
import type { Region } from '../model/ids.ts';
import { AWS_THREE_REGIONS, type Topology } from '../model/topology.ts';

/** The physical and economic facts that every policy is subject to alike. */
export interface ClusterModel {
  topology: Topology;
  /** Capacity of a node: one event loop less its overhead, core-seconds a second. */
  nodeCpu: number;
  nodeMemoryBytes: number;
  /** From asking for a node until it takes shards, seconds. Paid from the asking. */
  nodeStartS: number;
  nodesMinPerRegion: number;
  nodesMaxPerRegion: number;
  /** Core-seconds of a request: with {@link nodeCpu} the mean service time of the queue. */
  cpuSecondsPerRequest: number;
  /** Share of requests that are commands; they also go from the primary to its cell, in the primary's region. */
  commandShare: number;
  bytesPerRequest: number;
  /** Bytes a node can send and receive for moves, each way, a second. */
  moveBytesPerSecond: number;
  /** What a move takes beside its bytes (snapshot, warm-up, swap), seconds. */
  moveFixedS: number;
  /** Core-seconds that each end of a move spends on a gigabyte. */
  moveCpuSecondsPerGb: number;
  /** Requests of the shard wait this long at the hand-off, milliseconds. */
  handOffPauseMs: number;
  /** Moves under way at once, from or to one node, and in all. */
  movesPerNode: number;
  movesInFlight: number;
  /** A user's 99th percentile should stay below this, milliseconds. */
  objectiveMs: number;
  /** A queue longer than this is answered 503: it counts as over the objective, and is not served later. Seconds. */
  waitMaxS: number;
  /** Failures of a node in a month of 30 days, on average. */
  failuresPerNodeMonth: number;
  /** From a node's failure until another begins to read its shards' state, seconds. */
  failoverS: number;
  /** Copies of each shard on another node of its region. */
  standbys: number;
  /** CPU that following a shard takes, as a share of what the shard itself takes. */
  standbyCpuShare: number;
  /** Scaling down waits until capacity was not wanted for this long, seconds (Kubernetes' default: 300). */
  scaleDownS: number;
}

export const DEFAULT_CLUSTER: ClusterModel = {
  topology: AWS_THREE_REGIONS,
  // One event loop, a tenth of it for parsing, wire and store.
  nodeCpu: 0.9,
  // An m5.large has 8 GiB; state-heavy services take the memory-rich sizes. Scenarios set it.
  nodeMemoryBytes: 64e9,
  // A virtual machine from an image, its kubelet, one image pull and a process: the 90 s that autoscalers are planned for.
  nodeStartS: 90,
  nodesMinPerRegion: 1,
  nodesMaxPerRegion: 200,
  // A handler that renders, validates and writes some kilobytes.
  cpuSecondsPerRequest: 0.005,
  commandShare: 0.3,
  bytesPerRequest: 2_000,
  // One gigabit: what a shared virtual machine sustains beside its users' traffic.
  moveBytesPerSecond: 125e6,
  moveFixedS: 2,
  // Encode, checksum and copy: about half a gigabyte a core-second at each end.
  moveCpuSecondsPerGb: 2,
  handOffPauseMs: 40,
  movesPerNode: 4,
  movesInFlight: 64,
  objectiveMs: 250,
  waitMaxS: 30,
  failuresPerNodeMonth: 0,
  // The time to live of a lease, for a host that is lost; a process that exits is noticed at once.
  failoverS: 10,
  standbys: 0,
  // As placement counts it (docs/placement.md, standbyShare).
  standbyCpuShare: 0.1,
  scaleDownS: 600,
};

/** Offset of local time in hours, for traces shifted to where their users are. */
export const TIME_ZONE_HOURS: Record<Region, number> = {
  'us-east-1': -5,
  'eu-west-1': 0,
  'ap-northeast-1': 9,
};

/** One policy at one headroom over the scored part of one seed. */
export interface RunResult {
  policy: PolicyId;
  headroom: number;
  scoredS: number;
  usd: { nodes: number; egress: number; moves: number; total: number };
  /**
   * Minutes in which the 99th percentile of a user's requests was over the objective, averaged over requests: an hour in
   * which a tenth of the load waits too long is 6 minutes.
   */
  minutesOver: number;
  /** Minutes of the clock in which more than 1 % of all requests were on a way over the objective. */
  clockMinutesOver: number;
  latencyMs: { mean: number; p50: number; p99: number };
  /** Share of requests over the objective, those answered 503 included. */
  requestsOverShare: number;
  rejectedShare: number;
  moves: number;
  /** Of a shard to its standby: no bytes. */
  promotions: number;
  /** Bytes of copies for standbys. */
  bytesCopied: number;
  /** Moves and promotions of a shard back to where it came from within an hour. */
  pingPong: number;
  bytesMoved: number;
  nodesMean: number;
  nodesStarted: number;
  /**
   * How far placement's targets were from the certified bound, (cost - bound) / bound, over the rounds that counted (in one region
   * one in twelve): in the middle, at
   * most, and each with its second of the scored time. Absent for policies that do not place by the optimiser.
   */
  certifiedGap?: {
    median: number;
    worst: number;
    rounds: number;
    byRound: [atS: number, gap: number][];
  };
}

export const POLICY_IDS = [
  'hash',
  'static',
  'bestFixed',
  'hpa',
  'threshold',
  'latencyGreedy',
  'lastValue',
  'reactive',
  'seasonalNaive',
  'predictive',
  'oracle',
] as const;
export type PolicyId = (typeof POLICY_IDS)[number];

/** Those that foresee nothing: `predictive` is compared with the best of them. */
export const NON_PREDICTIVE: ReadonlySet<PolicyId> = new Set<PolicyId>([
  'hash',
  'static',
  'bestFixed',
  'hpa',
  'threshold',
  'latencyGreedy',
  'lastValue',
  'reactive',
]);

/** What each policy is, in a line: shown by the report. */
export const POLICY_TEXT: Record<PolicyId, string> = {
  hash: 'a fixed fleet, shards by rendezvous hash over all nodes, wherever their users are',
  static: 'a fixed fleet, shards stay where they were first touched',
  bestFixed: 'a fixed fleet, the best placement for the averages of the tuning days',
  hpa: "Kubernetes' horizontal autoscaler on CPU, shards by rendezvous hash",
  threshold: 'the same autoscaler; nodes over the headroom give shards to the least loaded',
  latencyGreedy: 'a fleet for the load measured where it is wanted; each shard on the nearest node with room',
  lastValue: 'our scaler, optimiser and planner on the load of the last step',
  reactive: 'our scaler, optimiser and planner on smoothed load, smoothing tuned on earlier days',
  seasonalNaive: 'the same on "as yesterday at this time"',
  predictive: "the same on the engine's forecast: what Skein runs",
  oracle: 'the same on the true future: what a perfect forecast would reach',
};
