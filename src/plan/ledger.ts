/**
 * What moves still owe: the cool-down against ping-pong, made of cost and not of a threshold.
 *
 * A move is a debt of its own cost; the gain it was made for pays it back second by second. A next move of the same
 * shard before that must gain the rest as well. A move that brings much is paid back at once and hinders nobody.
 *
 * Invariant: a debt is gone at the latest after the window that its move was decided for. One that gains nothing (its node was
 * drained, it made room for another) would else owe for ever, and more with each drain, until nothing could move it off a full node.
 */
import type { ShardId } from '../model/ids.ts';
import type { MoveReason } from '../model/loop.ts';

/** Debts kept; the oldest is forgiven beyond. */
const DEBTS_MAX = 100_000;

interface Debt {
  atMs: number;
  costUsd: number;
  gainUsdPerMs: number;
}

export class MoveLedger {
  readonly #debts = new Map<ShardId, Debt>();

  /**
   * A move was started.
   *
   * @param costUsd what placement asked of it: what it still owed then is in it
   * @param reason its dollars over the window, an hour: the cost's rate pays back in a window's time
   */
  moved(
    shard: ShardId,
    atMs: number,
    costUsd: number,
    { gainUsdPerHour, costUsdPerHour }: Pick<MoveReason, 'gainUsdPerHour' | 'costUsdPerHour'>,
  ): void {
    this.#debts.delete(shard);
    this.#debts.set(shard, {
      atMs,
      costUsd,
      gainUsdPerMs: Math.max(gainUsdPerHour, costUsdPerHour) / 3_600_000,
    });
    if (this.#debts.size > DEBTS_MAX) {
      const oldest = this.#debts.keys().next().value;
      if (oldest !== undefined) this.#debts.delete(oldest);
    }
  }

  /** A move was rolled back: it will not be paid back by a gain that never comes, but it was paid for. */
  rolledBack(shard: ShardId, atMs: number): void {
    const debt = this.#debts.get(shard);
    if (debt !== undefined)
      this.#debts.set(shard, { ...debt, atMs, gainUsdPerMs: debt.costUsd / ROLLBACK_MS });
  }

  /** Dollars still owed. */
  owedUsd(shard: ShardId, nowMs: number): number {
    const debt = this.#debts.get(shard);
    if (debt === undefined) return 0;
    const left = debt.costUsd - debt.gainUsdPerMs * Math.max(0, nowMs - debt.atMs);
    if (left > 0) return left;
    this.#debts.delete(shard);
    return 0;
  }

  get size(): number {
    return this.#debts.size;
  }
}

/** A rolled-back move's cost stands for this long: what was wrong at the target rarely passes sooner. */
const ROLLBACK_MS = 60_000;
