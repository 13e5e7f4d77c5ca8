/**
 * Idle primaries leave memory and come back from the log with the next request.
 *
 * Boundary: it chooses and seals; the table of `replicas.ts` ends the replica. Invariant: only a primary with nothing in
 * flight and nobody following for a move leaves, and it is remembered at which seq: so the same epoch may be opened
 * again where it ended (OWNERSHIP rule 1). Its standbys leave with it.
 */
import type { Io } from '../io/io.ts';
import type { NodeLimits } from './config.ts';
import type { OpenedEpochs } from './ownership.ts';
import { IDLE } from './participant.ts';
import type { HostedReplica } from './replica.ts';

/** So that a sweep never holds the event loop for long. */
const PASSIVATIONS_A_SWEEP_MAX = 2_000;

export interface PassivationHost {
  readonly io: Pick<Io, 'clock'>;
  readonly limits: NodeLimits;
  readonly opened: OpenedEpochs;
  readonly size: number;
  all(): Iterable<HostedReplica>;
  end(replica: HostedReplica, reason: string): void;
}

export class Passivation {
  readonly #host: PassivationHost;

  constructor(host: PassivationHost) {
    this.#host = host;
  }

  /** Idle primaries leave memory; where there are too many, the longest idle first. */
  sweep(): void {
    const { idleMs, residentReplicasMax } = this.#host.limits;
    const usedBeforeMs = this.#host.io.clock.monotonicMs() - idleMs;
    let count = 0;
    for (const replica of this.#host.all()) {
      if (!mayLeave(replica) || replica.state.lastUsedMs > usedBeforeMs) continue;
      void this.passivate(replica);
      if (++count >= PASSIVATIONS_A_SWEEP_MAX) return;
    }
    const excess = this.#host.size - count - residentReplicasMax;
    if (excess <= 0) return;
    const rest = [...this.#host.all()].filter(mayLeave);
    rest.sort((x, y) => x.state.lastUsedMs - y.state.lastUsedMs);
    for (const replica of rest.slice(0, Math.min(excess, PASSIVATIONS_A_SWEEP_MAX))) {
      void this.passivate(replica);
    }
  }

  async passivate(replica: HostedReplica): Promise<void> {
    if (!mayLeave(replica)) return;
    replica.passivating = true;
    try {
      await replica.state.seal();
    } catch {
      // Demoted meanwhile: it has left already.
    }
    replica.passivating = false;
    if (replica.ended || replica.role !== 'primary') return;
    const { durableSeq, appliedSeq } = replica.state;
    this.#host.opened.set(replica.shard, {
      epoch: replica.epoch,
      ...(durableSeq === appliedSeq ? { cleanSeq: durableSeq } : {}),
    });
    this.#host.end(replica, IDLE);
  }
}

function mayLeave(replica: HostedReplica): boolean {
  return (
    replica.role === 'primary' &&
    !replica.ended &&
    !replica.passivating &&
    !replica.followed &&
    !replica.snapshotQueued &&
    !replica.unconfirmed &&
    replica.state.pendingCommands === 0
  );
}
