/**
 * Snapshots at the cell and the trims they allow, a few at a time so that requests keep the event loop.
 *
 * OWNERSHIP rule 8: both carry the epoch and are fenced; a snapshot never goes back; a trim reaches only below a
 * stored snapshot.
 */
import type { Log } from '../io/io.ts';
import type { HostedReplica } from './replica.ts';

const CONCURRENT_MAX = 2;
/** Deltas one call trims: large ranges stall a store. */
const TRIM_RANGE = 1_000;

export class SnapshotKeeper {
  readonly #log: Log;
  readonly #deposed: (replica: HostedReplica, reason: string) => void;
  /** Bounded by the number of replicas: each is in it once at most. */
  readonly #queue: HostedReplica[] = [];
  #running = 0;

  constructor(options: { log: Log; deposed: (replica: HostedReplica, reason: string) => void }) {
    this.#log = options.log;
    this.#deposed = options.deposed;
  }

  want(replica: HostedReplica): void {
    if (replica.snapshotQueued || replica.role !== 'primary') return;
    replica.snapshotQueued = true;
    this.#queue.push(replica);
    this.#next();
  }

  #next(): void {
    while (this.#running < CONCURRENT_MAX) {
      const replica = this.#queue.shift();
      if (replica === undefined) return;
      this.#running++;
      this.#take(replica)
        .catch((error) => {
          // Wanted again by a later command; until then the log is only longer.
          this.#log.warn({ shard: replica.shard, error: String(error) }, 'a snapshot was not stored');
        })
        .finally(() => {
          replica.snapshotQueued = false;
          this.#running--;
          this.#next();
        });
    }
  }

  async #take(replica: HostedReplica): Promise<void> {
    if (!owns(replica)) return;
    const { shard, epoch, cell } = replica;
    const logBytes = replica.logBytes;
    const snapshot = await replica.state.snapshot();
    if (!owns(replica) || replica.epoch !== epoch) return;
    const stored = await cell.putSnapshot(shard, epoch, snapshot);
    if (!stored.ok) {
      if (stored.reason === 'fenced' && replica.epoch === epoch) {
        this.#deposed(replica, `fenced by epoch ${stored.fence}`);
      }
      return;
    }
    replica.logBytes -= logBytes;
    replica.snapshotBytes = snapshot.bytes.byteLength;
    while (replica.trimmedSeq < snapshot.seq && owns(replica) && replica.epoch === epoch) {
      const through = Math.min(snapshot.seq, replica.trimmedSeq + TRIM_RANGE);
      const trimmed = await cell.trim(shard, epoch, through);
      if (!trimmed.ok) return;
      replica.trimmedSeq = through;
    }
  }
}

function owns(replica: HostedReplica): boolean {
  return !replica.ended && replica.role === 'primary';
}
