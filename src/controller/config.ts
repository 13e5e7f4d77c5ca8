/** Settings of a controller process, with their defaults for a local cluster. */
import type { ControllerMode, PolicyName } from '../model/loop.ts';
import { AWS_THREE_REGIONS, type Topology } from '../model/topology.ts';

export interface ControllerConfig {
  processId: string;
  name: string;
  /** Where this controller's wire listener is. */
  address: string;
  /** Where its admin API is. */
  httpAddress: string;
  /** Used until an operator sets another (`PUT /v1/mode`). */
  mode: ControllerMode;
  policy: PolicyName;
  topology: Topology;
  /** Time between ticks, milliseconds. */
  stepMs: number;
  /** How long a tick waits for a node's samples, milliseconds. */
  sampleTimeoutMs: number;
  /** Lease of leadership: how long a cluster is without a loop when a leader's host is lost. */
  leaseTtlMs: number;
  /** Decisions kept for the API. */
  decisionsKept: number;
  /** A move made by hand is not undone by placement for this long. */
  manualPinMs: number;
  /** Moves a plan may hold. */
  movesPerPlan: number;
  /** Migrations of a drain under way at once; the executor's own limits come on top. */
  drainMovesAtOnce: number;
  /** How far ahead a move is decided for, seconds. */
  leadS: number;
  /** For `bestFixed`: seconds of load to learn from. */
  learnS: number;
  /** For `reactive`: seconds after which a request weighs half; absent: the tuned value. */
  halfLifeS?: number;
  seed: string;
  /** File for the loop's state; absent: not saved. */
  stateFile?: string;
  oracleFile?: string;
  /** The predictive policy asks the trained network about groups, hot shards and the total: by default. */
  network?: boolean;
  /** An ONNX model of one's own that it asks as well, described by `<file>.json`. */
  modelFile?: string;
  /** Core-seconds that each end of a move spends on a gigabyte; absent: as measured. */
  moveCpuSecondsPerGb?: number;
  /** False: copies of moves go at full speed. */
  copiesGiveWay?: boolean;
}

export const CONTROLLER_DEFAULTS = {
  mode: 'auto',
  policy: 'predictive',
  topology: AWS_THREE_REGIONS,
  stepMs: 1_000,
  sampleTimeoutMs: 800,
  leaseTtlMs: 5_000,
  decisionsKept: 600,
  manualPinMs: 300_000,
  movesPerPlan: 24,
  drainMovesAtOnce: 64,
  leadS: 2,
  learnS: 60,
  seed: 'skein',
} as const satisfies Partial<ControllerConfig>;
