/**
 * A migration as it is shown: by the executor, the admin API, the event stream and the command line.
 */
import type { CellId, NodeName, ProcessId, Region, ShardId } from '../model/ids.ts';
import type { LatencyPromise, Move } from '../model/loop.ts';
import type { HandOffPhases } from '../node/protocol.ts';
import { formatMeasured, type MeasuredLatency } from './latency.ts';
import type { State } from './record.ts';

/** One that ended stays for a while. */
export interface MigrationView {
  id: string;
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  sourceName?: NodeName;
  targetName?: NodeName;
  cell: CellId;
  /** `queued` until its turn comes. */
  step: State | 'queued';
  /** Share of users sent to the target, 0 to 100. */
  percent: number;
  /** Absent while it runs. */
  outcome?: 'completed' | 'rolledBack' | 'failed';
  reason: string;
  priority: Move['priority'];
  startedAtMs: number;
  endedAtMs?: number;
  /** Why it rolled back or failed, or what it waits for. */
  detail?: string;
  bytesTransferred: number;
  bytesTotal: number;
  /** Of the hand-off: how long the source was sealed, and bytes copied to another cell. */
  handOff?: { sealedMs: number; bytesCopied: number; phasesMs?: HandOffPhases };
  /** What placement promised the users of each origin. */
  promise?: LatencyPromise;
  /** What they waited since the hand-off, as gateways measured it. */
  measured?: Record<Region, MeasuredLatency>;
}

/** Promised and measured latency as a sentence without its full stop; undefined where neither is known. */
export function latencyText(view: Pick<MigrationView, 'promise' | 'measured'>): string | undefined {
  const text = formatMeasured(view.promise, view.measured);
  return text === '' ? undefined : text;
}
