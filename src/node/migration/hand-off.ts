/**
 * The hand-off, executed by the source node itself (OWNERSHIP rule 5); an order is only a hint that may come late,
 * twice or stale.
 *
 *   check -> pre-copy -> SEAL -> the target completes the log and SWAPS (take-over.ts) -> hand over
 *     |         |         |       | refused, or no word of it                              ^
 *     |         |         |       +-> tail + catch-up -> SWAP -----------------------------+
 *     |         |         |                 |              +-> unknown: read until known, sealed
 *     +---------+-> refused (nothing changed)
 *                         +-----------------+-> unseal by a touching swap (rule 6), or demoted
 *
 * Invariants: between seal and the known outcome of the swap the shard answers nothing; every swap of a hand-off, the
 * target's in the source's name as well, compares the version read while sealed; one hand-off a shard at a time; the same order delivered again joins the first; inside the sealed
 * part nothing sleeps: it waits on events, and on a clock only to give up. How long the sealed part takes does not
 * depend on the size of the state: the bulk is copied before the seal.
 */

import { sleep } from '../../io/io.ts';
import type { ProcessId, Seq, ShardId } from '../../model/ids.ts';
import { type Assignment, type AssignmentRecord, CONTROL_KEYS } from '../../model/records.ts';
import type { LocalReplica, ParticipantHost } from '../participant.ts';
import type { HandOffOrder, HandOffResult } from '../protocol.ts';
import { CellCopy } from './cell-copy.ts';
import { messageOf, Refusal, within } from './refusal.ts';
import { type Registration, swapAssignment } from './swap.ts';

/** Longest wait for handlers that run and appends in flight; then the shard is unsealed and the order refused. */
export const SEAL_MS_MAX = 3_000;
/** Longest wait for the target's word that it took over; then the source finishes, or unseals, by itself. */
export const TAKE_OVER_MS_MAX = 3_000;
/** Longest copy of the tail while sealed. */
export const TAIL_MS_MAX = 5_000;
/** Longest wait for the target to apply the tail while sealed. */
export const CATCH_UP_MS_MAX = 5_000;
/** Longest wait for the target to come near before sealing at all. */
const NEAR_MS_MAX = 10_000;
const PROMOTED_ATTEMPTS_MAX = 5;
const RETRY_DELAY_MS = 100;
const RESULTS_KEPT = 2_000;

interface Running {
  order: HandOffOrder;
  promise: Promise<HandOffResult>;
  calledOff: boolean;
}

/** Where the log ended when the source sealed, and what the swap compares and writes. */
interface SealedEnd {
  next: AssignmentRecord;
  seq: Seq;
  version: number;
  registration: Registration;
}

export interface HandedOver {
  order: HandOffOrder;
  next: Assignment;
  /** The last seq of the old epoch. */
  seq: number;
}

export class HandOffs {
  readonly #host: ParticipantHost;
  readonly #onHandedOver: (handed: HandedOver) => void;
  readonly #running = new Map<ShardId, Running>();
  /** What became of recent orders, oldest first: an order delivered again learns it. */
  readonly #results = new Map<string, HandOffResult>();

  constructor(host: ParticipantHost, onHandedOver: (handed: HandedOver) => void) {
    this.#host = host;
    this.#onHandedOver = onHandedOver;
  }

  handOff(order: HandOffOrder): Promise<HandOffResult> {
    const running = this.#running.get(order.shard);
    if (running) {
      if (sameOrder(running.order, order)) return running.promise;
      return Promise.resolve(refused(`${order.shard} is being handed off by ${running.order.migration}`));
    }
    const earlier = this.#results.get(orderKey(order));
    if (earlier) return Promise.resolve(earlier);
    const replica = this.#host.replica(order.shard);
    const reason = this.#objection(order, replica);
    if (reason !== undefined) return Promise.resolve(reason);
    const entry: Running = { order, promise: undefined as never, calledOff: false };
    entry.promise = this.#run(entry, replica!)
      .catch((error): HandOffResult => refused(messageOf(error)))
      .then((result) => {
        this.#running.delete(order.shard);
        if (result.outcome !== 'refused') this.#remember(order, result);
        return result;
      });
    this.#running.set(order.shard, entry);
    return entry.promise;
  }

  /** Stops a hand-off of this migration that has not swapped yet. */
  callOff(shard: ShardId, migration: string): void {
    const running = this.#running.get(shard);
    if (running?.order.migration === migration) running.calledOff = true;
  }

  /** Why the order cannot be followed, from what is known here. The epoch is what makes an old order harmless. */
  #objection(order: HandOffOrder, replica: LocalReplica | undefined): HandOffResult | undefined {
    if (!replica) return refused(`${order.shard} is not on ${this.#host.self.processId}`);
    const { assignment } = replica;
    if (assignment.epoch === order.epoch + 1 && assignment.primary === order.target)
      return { outcome: 'already', epoch: assignment.epoch };
    if (replica.role !== 'primary') return refused(`${order.shard} is ${replica.role} here, not primary`);
    if (assignment.epoch !== order.epoch)
      return refused(`the order is for epoch ${order.epoch}, the shard is at ${assignment.epoch}`);
    if (order.target === this.#host.self.processId) return refused('the target is the source');
    return undefined;
  }

  async #run(entry: Running, replica: LocalReplica): Promise<HandOffResult> {
    const { order } = entry;
    const host = this.#host;
    const { clock } = host.io;
    const oldCell = replica.assignment.cell;
    const epoch = order.epoch + 1;
    const copy =
      order.cell === oldCell
        ? undefined
        : new CellCopy({
            shard: order.shard,
            epoch,
            replica,
            from: host.cell(oldCell),
            to: host.cell(order.cell),
            mutations: host.mutations,
          });
    try {
      // OWNERSHIP rule 9: the new fence first, then the bulk, all while the shard serves.
      const [registration, objection] = await Promise.all([
        host.control.get(CONTROL_KEYS.node(order.target)),
        this.#near(order, replica.state.durableSeq),
        copy?.precopy(),
      ]);
      if (!registration) return refused(`${order.target} is not registered (any more)`);
      if (objection !== undefined) return refused(objection);
      // What was written while the target came near.
      await copy?.catchUp();
      if (entry.calledOff) return refused('the migration was called off');

      const sealedAtMs = clock.monotonicMs();
      const sealed = await this.#seal(order.shard);
      const quietAtMs = clock.monotonicMs();
      const next: AssignmentRecord = {
        epoch,
        primary: order.target,
        cell: order.cell,
        standbys: this.#standbys(order, replica),
      };
      let done: { version: number; swapMs: number };
      try {
        if (sealed.epoch !== order.epoch)
          throw new Refusal('refused', `the order is for epoch ${order.epoch}, sealed at ${sealed.epoch}`);
        done =
          (await this.#askTarget(order, { next, ...sealed, registration }, copy)) ??
          (await this.#swapHere(entry, { next, ...sealed, registration }, copy));
      } catch (error) {
        // Rule 6: serves again only after a swap that touches the assignment; the host demotes where that fails.
        await host.unseal(order.shard);
        return refused(messageOf(error));
      }
      const swappedAtMs = clock.monotonicMs();
      const { version, swapMs } = done;
      const phasesMs = {
        seal: quietAtMs - sealedAtMs,
        prove: Math.max(0, swappedAtMs - quietAtMs - swapMs),
        swap: swapMs,
      };
      this.#handOver(order, { ...next, shard: order.shard, version }, sealed.seq, oldCell);
      const sealedMs = swappedAtMs - sealedAtMs;
      return {
        outcome: 'swapped',
        epoch,
        version,
        sealedMs,
        bytesCopied: copy?.bytesCopied ?? 0,
        phasesMs,
      };
    } finally {
      copy?.close();
    }
  }

  /**
   * Sealed: the target completes the log and swaps, on one word from here, and requests are sent ahead to it. Undefined
   * where it refused or its answer was lost. In the second case its swap may still land: the source stays sealed, and
   * whatever it writes next takes the version away from it (rules 5 and 6).
   */
  async #askTarget(
    order: HandOffOrder,
    end: SealedEnd,
    copy: CellCopy | undefined,
  ): Promise<{ version: number; swapMs: number } | undefined> {
    const { shard, migration, targetAddress } = order;
    const host = this.#host;
    const tail = copy?.isVerified(end.seq) ? undefined : copy?.lacking(end.seq);
    // More than one message takes is copied from here.
    if (copy && tail === undefined && !copy.isVerified(end.seq)) return undefined;
    const { next, version, seq, registration } = end;
    try {
      const asked = host.peer(targetAddress).call(
        'follow.takeOver',
        {
          migration,
          shard,
          next,
          version,
          registration: { key: registration.key, version: registration.version },
          seq,
          ...(tail === undefined ? {} : { tail }),
        },
        { timeoutMs: TAKE_OVER_MS_MAX },
      );
      host.sendAhead?.(shard, { primary: next.primary, epoch: next.epoch });
      const taken = await asked;
      if (taken.outcome === 'swapped') return taken;
      host.io.log.info({ shard, reason: taken.reason }, 'the target did not take over; finishing here');
    } catch (error) {
      host.io.log.warn({ shard, reason: messageOf(error) }, 'no word of the take-over; staying sealed');
      if (host.mutations?.has('unseal-without-touch')) throw error;
    }
    host.sendAhead?.(shard, undefined);
    return undefined;
  }

  /** The same from here, where the target did not do it or nothing is known of it. Throws where it will not happen. */
  async #swapHere(
    entry: Running,
    { next, version, seq, registration }: SealedEnd,
    copy: CellCopy | undefined,
  ): Promise<{ version: number; swapMs: number }> {
    const { order } = entry;
    const { clock } = this.#host.io;
    // Rule 9: same cell, the target has applied everything up to N; another cell, its log is contiguous to N.
    await Promise.all([
      within(clock, CATCH_UP_MS_MAX, 'catching up', this.#caughtUp(order, seq)),
      copy && within(clock, TAIL_MS_MAX, 'copying the tail', this.#copyTail(copy, seq)),
    ]);
    if (entry.calledOff) throw new Refusal('refused', 'the migration was called off');
    const sentAtMs = clock.monotonicMs();
    const swapped = await swapAssignment(this.#host, order.shard, next, version, registration);
    if (swapped === undefined)
      throw new Refusal('refused', 'the assignment changed, or the target went, while sealed');
    return { version: swapped, swapMs: clock.monotonicMs() - sentAtMs };
  }

  /** Who stands by for the target; this node has the state, so it keeps it where it may. */
  #standbys({ shard, target }: HandOffOrder, { assignment }: LocalReplica): ProcessId[] {
    const { self, standbysFor } = this.#host;
    const others = assignment.standbys.filter((standby) => standby !== target);
    return standbysFor?.call(this.#host, shard, target, [self.processId, ...others]) ?? others;
  }

  /** Resolves with an objection when the target is not a follower that has come as far as `seq`. */
  async #near(order: HandOffOrder, seq: number): Promise<string | undefined> {
    const status = await this.#host
      .peer(order.targetAddress)
      .call(
        'replica.status',
        { shard: order.shard, untilSeq: seq, waitMs: NEAR_MS_MAX },
        { timeoutMs: NEAR_MS_MAX * 2 },
      );
    if (status.role === 'follower' && status.phase === 'following' && status.appliedSeq >= seq)
      return undefined;
    return `the target is ${status.role} at ${status.appliedSeq} of ${seq}${status.phase ? `, ${status.phase}` : ''}${status.error ? `: ${status.error}` : ''}`;
  }

  /** Rule 5. A seal that takes too long is taken back, so that a handler that never ends stalls nobody else's move. */
  async #seal(shard: ShardId): Promise<{ seq: number; epoch: number; version: number }> {
    try {
      return await within(this.#host.io.clock, SEAL_MS_MAX, 'sealing', this.#host.seal(shard));
    } catch (error) {
      // Also where it is not sealed yet: requests are held since the seal began.
      await this.#host.unseal(shard);
      throw error;
    }
  }

  async #caughtUp(order: HandOffOrder, seq: number): Promise<void> {
    const status = await this.#host
      .peer(order.targetAddress)
      .call(
        'replica.status',
        { shard: order.shard, untilSeq: seq, waitMs: CATCH_UP_MS_MAX },
        { timeoutMs: CATCH_UP_MS_MAX * 2 },
      );
    if (status.role !== 'follower' || status.appliedSeq !== seq)
      throw new Refusal(
        'refused',
        `the target is ${status.role} at ${status.appliedSeq}, the log ends at ${seq}`,
      );
  }

  async #copyTail(copy: CellCopy, seq: number): Promise<void> {
    await copy.copyThrough(seq);
    await copy.verify(seq);
  }

  #handOver(order: HandOffOrder, next: Assignment, seq: number, oldCell: string): void {
    // The word to the target goes first: held requests that follow on the same connection find it opening.
    void this.#announce(order, next, seq).then((opened) => {
      if (opened && oldCell !== next.cell) void this.#deleteOldLog(order, oldCell);
    });
    this.#host.handOver(order.shard, next, order.targetAddress);
    this.#onHandedOver({ order, next, seq });
  }

  /** Tells the target to open; should every attempt be lost, its watch of the assignment does. */
  async #announce(order: HandOffOrder, next: Assignment, seq: number): Promise<boolean> {
    for (let attempt = 1; attempt <= PROMOTED_ATTEMPTS_MAX; attempt++) {
      try {
        const { opened } = await this.#host.peer(order.targetAddress).call('follow.promoted', {
          shard: order.shard,
          epoch: next.epoch,
          seq,
          version: next.version,
          cell: next.cell,
          standbys: next.standbys,
        });
        if (opened) return true;
      } catch (error) {
        this.#host.io.log.debug({ shard: order.shard, reason: messageOf(error) }, 'promoted was not heard');
      }
      await sleep(this.#host.io.clock, RETRY_DELAY_MS * 2 ** attempt);
    }
    return false;
  }

  /**
   * Rule 8: fenced by the old epoch, so a shard that has come back to this cell meanwhile keeps its log; the fence
   * itself stays for ever. A log that could not be deleted is garbage, never a danger.
   */
  async #deleteOldLog(order: HandOffOrder, cell: string): Promise<void> {
    for (let attempt = 1; attempt <= PROMOTED_ATTEMPTS_MAX; attempt++) {
      try {
        await this.#host.cell(cell).deleteLog(order.shard, order.epoch);
        return;
      } catch (error) {
        this.#host.io.log.debug({ shard: order.shard, reason: messageOf(error) }, 'old log not deleted yet');
        await sleep(this.#host.io.clock, RETRY_DELAY_MS * 2 ** attempt);
      }
    }
  }

  #remember(order: HandOffOrder, result: HandOffResult): void {
    if (this.#results.size >= RESULTS_KEPT) this.#results.delete(this.#results.keys().next().value!);
    this.#results.set(orderKey(order), result);
  }
}

function refused(reason: string): HandOffResult {
  return { outcome: 'refused', reason };
}

function orderKey(order: HandOffOrder): string {
  return `${order.migration}\u0000${order.shard}\u0000${order.epoch}\u0000${order.target}\u0000${order.cell}`;
}

function sameOrder(a: HandOffOrder, b: HandOffOrder): boolean {
  return orderKey(a) === orderKey(b);
}
