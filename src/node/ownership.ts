/**
 * Who may write a shard, decided: what one node does about a request for a shard it does not serve right now.
 *
 * Pure. The inputs are what this node believes (a cached assignment, node keys seen, its own past); belief may be
 * stale, since every change it leads to is a compare-and-swap that the control store refuses when it is.
 */
import type { CellId, Epoch, ProcessId, Seq } from '../model/ids.ts';
import type { Assignment } from '../model/records.ts';

/** What this process remembers of the last epoch it opened of a shard. */
export interface OpenedEpoch {
  epoch: Epoch;
  /**
   * Set where the replica left memory with nothing in flight, at this seq: the one case in which the same process may
   * open the same epoch again, provided the log still ends there.
   */
  cleanSeq?: Seq;
}

export interface OwnershipView {
  self: ProcessId;
  /** Undefined: the key is absent, nobody ever claimed the shard. */
  assignment: Assignment | undefined;
  /** Whether the primary's node key is there, as far as this node knows. */
  primaryPresent: boolean;
  /** Undefined: this process surely never opened it. `forgotten`: it may have. */
  opened: OpenedEpoch | 'forgotten' | undefined;
  /** Ready, not draining, and in a region the service allows. */
  accepting: boolean;
  homeCell: CellId;
}

export type OwnershipDecision =
  /** Named and never opened in this epoch: open it. */
  | { action: 'open'; epoch: Epoch; expectSeq?: Seq }
  /** Named, but the epoch was opened before (OWNERSHIP rule 1: an epoch is opened once): swap self to epoch+1. */
  | { action: 'reopen'; epoch: Epoch }
  /** Nobody's: compare-and-create. */
  | { action: 'claim'; epoch: Epoch; cell: CellId }
  /** The primary's node key is gone: epoch+1 in one transaction with the absence of that key. */
  | { action: 'take-over'; epoch: Epoch; from: ProcessId }
  | { action: 'forward'; to: ProcessId }
  /** Someone else should own it: another node that takes new shards. */
  | { action: 'pass-on' };

export function decideOwnership(view: OwnershipView): OwnershipDecision {
  const { assignment, opened } = view;
  if (assignment === undefined) {
    return view.accepting ? { action: 'claim', epoch: 1, cell: view.homeCell } : { action: 'pass-on' };
  }
  const { epoch, primary } = assignment;
  if (primary === view.self) {
    if (opened === undefined) return { action: 'open', epoch };
    if (opened === 'forgotten') return { action: 'reopen', epoch: epoch + 1 };
    if (opened.epoch < epoch) return { action: 'open', epoch };
    if (opened.epoch === epoch && opened.cleanSeq !== undefined) {
      return { action: 'open', epoch, expectSeq: opened.cleanSeq };
    }
    return { action: 'reopen', epoch: epoch + 1 };
  }
  if (view.primaryPresent) return { action: 'forward', to: primary };
  return view.accepting ? { action: 'take-over', epoch: epoch + 1, from: primary } : { action: 'pass-on' };
}

/** What news of an assignment means for a replica that serves here as primary. */
export function staysPrimary(
  replica: { epoch: Epoch; version: number },
  self: ProcessId,
  news: Assignment | undefined,
): boolean {
  if (news === undefined) return true;
  // Older than what this node wrote itself: the watch is behind.
  if (news.version <= replica.version) return true;
  return news.primary === self && news.epoch === replica.epoch;
}

/**
 * Remembers which epochs this process opened, bounded: "an epoch is opened once" needs it. When it had to forget some,
 * it says so, and the answer is a fresh epoch, which is always safe.
 */
export class OpenedEpochs {
  readonly #max: number;
  readonly #opened = new Map<string, OpenedEpoch>();
  #forgot = false;

  constructor(max = 500_000) {
    this.#max = max;
  }

  get(shard: string): OpenedEpoch | 'forgotten' | undefined {
    return this.#opened.get(shard) ?? (this.#forgot ? 'forgotten' : undefined);
  }

  set(shard: string, opened: OpenedEpoch): void {
    this.#opened.delete(shard);
    this.#opened.set(shard, opened);
    if (this.#opened.size > this.#max) {
      this.#opened.delete(this.#opened.keys().next().value!);
      this.#forgot = true;
    }
  }
}
