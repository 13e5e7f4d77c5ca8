/**
 * The target's end of a hand-off: on the word of the sealed source it completes the log of its cell, makes the swap in
 * the source's name, and opens.
 *
 *   heard -> tail + catch-up -> SWAP -> opening
 *              |                  +-> refused: the version is spent
 *              +-> refused: no swap was sent
 *
 * The source would need a round trip to hear that all is there and another for the swap; from here both are as near as
 * the cell and the control store are. Invariants: what is appended is the durable end of the one history, under the
 * ids of its first append, so it does no harm where the hand-off comes to nothing (OWNERSHIP rule 9); the swap goes
 * out only when the log of its cell reaches the end, and the copy here does; nothing runs here before the swap is
 * known to have happened (OWNERSHIP rule 5).
 */
import type { AssignmentRecord } from '../../model/records.ts';
import type { CellStore } from '../../store/store.ts';
import type { ParticipantHost } from '../participant.ts';
import type { TakenOver, TakeOver } from '../protocol.ts';
import type { Follower } from './follower.ts';
import { messageOf, within } from './refusal.ts';
import { swapAssignment } from './swap.ts';

/** Longest wait for the end of the log: in the cell, and in the copy here. */
export const COMPLETE_MS_MAX = 1_500;

export interface TakeOvers {
  host: ParticipantHost;
  follower: Follower | undefined;
  /** Opens, as the word of a swap that the source made does. */
  promote: (next: AssignmentRecord, version: number) => void;
}

/** Requests wait no longer for the outcome: the source then finishes by itself, or serves again. */
const WAIT_MS_MAX = 3_000;

/** Never rejects: `refused` means that no swap of this order is under way. */
export function takeOver(order: TakeOver, { host, follower, promote }: TakeOvers): Promise<TakenOver> {
  const { shard, next } = order;
  const replica = host.replica(shard);
  if (replica?.role !== 'follower' || follower === undefined)
    return Promise.resolve(refused(`${shard} is ${replica?.role ?? 'not'} here, no follower`));
  if (replica.assignment.epoch >= next.epoch)
    return Promise.resolve(refused(`what follows here is at epoch ${replica.assignment.epoch} already`));
  const taken = run(order, host, follower, promote).catch((error) => refused(messageOf(error)));
  // Requests that were sent ahead of the word wait for it.
  const settled = within(host.io.clock, WAIT_MS_MAX, 'taking over', taken);
  host.takingOver?.(
    shard,
    settled.catch(() => {}),
  );
  return taken;
}

async function run(
  order: TakeOver,
  host: ParticipantHost,
  follower: Follower,
  promote: TakeOvers['promote'],
): Promise<TakenOver> {
  const { shard, next, seq, version, registration } = order;
  const { clock } = host.io;
  if (host.mutations?.has('serve-before-swap')) promote(next, version);
  await Promise.all([
    within(clock, COMPLETE_MS_MAX, 'completing the log', completeLog(order, host.cell(next.cell))),
    follower.settled(seq, COMPLETE_MS_MAX),
  ]);
  const appliedSeq = host.replica(shard)?.state.appliedSeq ?? 0;
  if (follower.phase !== 'following' || appliedSeq !== seq)
    return refused(`the target is ${follower.phase} at ${appliedSeq}, the log ends at ${seq}`);
  const sentAtMs = clock.monotonicMs();
  const swapped = await swapAssignment(host, shard, next, version, registration);
  if (swapped === undefined) return refused('the assignment changed, or this process went, while sealed');
  promote(next, swapped);
  return { outcome: 'swapped', version: swapped, swapMs: clock.monotonicMs() - sentAtMs };
}

/** OWNERSHIP rule 9: contiguous to the end, under the new epoch, whose fence the source has raised before it copied. */
async function completeLog({ shard, next, seq, tail }: TakeOver, cell: CellStore): Promise<void> {
  if (tail === undefined) return;
  const { epoch } = next;
  const results = await cell.append(tail.map((entry) => ({ shard, epoch, ...entry })));
  // Accepted as end + 1, or there already under the same id: nobody else writes under this fence.
  if (results.length > 0 && results.every(({ ok }) => ok)) return;
  const { end, firstSeq } = await cell.tail(shard, seq, 1);
  if (end !== seq || firstSeq > seq + 1)
    throw new Error(`the copied log of ${shard} ends at ${end}, not at ${seq}`);
}

function refused(reason: string): TakenOver {
  return { outcome: 'refused', reason };
}
