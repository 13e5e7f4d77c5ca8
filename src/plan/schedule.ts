/**
 * Moves into time: which are worth making together under budgets of moves, bytes and time, and when each must start.
 *
 * 1. Choose: what must move, then by benefit over cost (dollars gained until the horizon, per dollar of moving), while the
 *    budgets last.
 * 2. Order: what is due first starts first; a move is due when it must start to be done before it is needed (state over
 *    measured bandwidth, and a fixed part).
 * 3. Lay out: each starts as soon as its source, its target and the whole have a free slot; moves under way hold theirs.
 *
 * Pure and deterministic; nothing is moved twice. A move that cannot be done in time is kept and marked late: doing it late
 * is still worth its gain, and the caller can tell what more bandwidth would buy.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';

export interface WantedMove {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  bytes: number;
  /** Measured bytes a second between the two; a promotion moves none. */
  bandwidthBps: number;
  gainUsdPerHour: number;
  /** One-time dollars. */
  costUsd: number;
  /** Seconds from now when it should be done: the step of the forecast that asks for it. 0: now. */
  neededAtS: number;
  must?: boolean;
}

export interface MoveUnderWay {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  bytes: number;
  /** Seconds until it is done. */
  leftS: number;
}

export interface ScheduleBudgets {
  /** Moves and bytes of the whole schedule, those under way not counted. */
  movesMax: number;
  bytesMax: number;
  /** Seconds from now in which all must be done; later ones are left out. */
  horizonS: number;
  atOnceMax: number;
  perNodeAtOnceMax: number;
}

export interface ScheduledMove extends WantedMove {
  startAtS: number;
  doneAtS: number;
  /** When it would have to start to be done in time; below 0: it is too late already. */
  dueAtS: number;
  late: boolean;
}

export interface Schedule {
  /** In the order in which they start. */
  moves: ScheduledMove[];
  leftOut: { move: WantedMove; because: string }[];
}

/** Seconds of a move beside its bytes: snapshot, warm-up, shift, hand-off. */
export const MOVE_FIXED_S = 2;

export function moveDurationS({ bytes, bandwidthBps }: Pick<WantedMove, 'bytes' | 'bandwidthBps'>): number {
  return MOVE_FIXED_S + (bytes > 0 ? bytes / Math.max(1, bandwidthBps) : 0);
}

export function scheduleMoves(
  wanted: readonly WantedMove[],
  underWay: readonly MoveUnderWay[],
  budgets: ScheduleBudgets,
): Schedule {
  const leftOut: Schedule['leftOut'] = [];
  const chosen: WantedMove[] = [];
  const seen = new Set(underWay.map(({ shard }) => shard));
  let bytes = 0;
  for (const move of [...wanted].sort(byWorth(budgets.horizonS))) {
    const because = refusal(move, chosen.length, bytes, seen, budgets);
    if (because !== undefined) {
      leftOut.push({ move, because });
      continue;
    }
    seen.add(move.shard);
    bytes += move.bytes;
    chosen.push(move);
  }
  const due = (move: WantedMove) => move.neededAtS - moveDurationS(move);
  const worth = byWorth(budgets.horizonS);
  chosen.sort((a, b) => Number(b.must ?? false) - Number(a.must ?? false) || due(a) - due(b) || worth(a, b));
  const slots = new Slots(underWay, budgets);
  const moves: ScheduledMove[] = [];
  for (const move of chosen) {
    const lengthS = moveDurationS(move);
    const startAtS = slots.firstFree(move.source, move.target);
    const doneAtS = startAtS + lengthS;
    if (doneAtS > budgets.horizonS && move.must !== true) {
      leftOut.push({
        move,
        because: `it would be done after ${budgets.horizonS} s: no free slot, or too many bytes`,
      });
      continue;
    }
    slots.take(move.source, move.target, doneAtS);
    moves.push({ ...move, startAtS, doneAtS, dueAtS: due(move), late: doneAtS > move.neededAtS });
  }
  moves.sort((a, b) => a.startAtS - b.startAtS || (a.shard < b.shard ? -1 : 1));
  return { moves, leftOut };
}

function netUsd(move: WantedMove, horizonS: number): number {
  return (move.gainUsdPerHour * horizonS) / 3600 - move.costUsd;
}

function byWorth(horizonS: number): (a: WantedMove, b: WantedMove) => number {
  const perCost = (move: WantedMove) => netUsd(move, horizonS) / Math.max(move.costUsd, 1e-12);
  return (a, b) =>
    Number(b.must ?? false) - Number(a.must ?? false) ||
    perCost(b) - perCost(a) ||
    (a.shard < b.shard ? -1 : 1);
}

function refusal(
  move: WantedMove,
  moves: number,
  bytes: number,
  seen: ReadonlySet<ShardId>,
  budgets: ScheduleBudgets,
): string | undefined {
  if (seen.has(move.shard)) return 'a move of the shard is under way or planned';
  if (moves >= budgets.movesMax) return `budget of ${budgets.movesMax} moves`;
  // One shard larger than the whole budget must still be able to move, alone.
  if (bytes > 0 && bytes + move.bytes > budgets.bytesMax) return `budget of ${budgets.bytesMax} bytes`;
  if (move.must !== true && netUsd(move, budgets.horizonS) <= 0)
    return `it does not pay for itself within ${budgets.horizonS} s`;
  return undefined;
}

/** When the slots of the whole and of each node become free. */
class Slots {
  readonly #all: number[];
  readonly #perNode = new Map<ProcessId, number[]>();
  readonly #perNodeMax: number;

  constructor(underWay: readonly MoveUnderWay[], budgets: ScheduleBudgets) {
    this.#perNodeMax = Math.max(1, budgets.perNodeAtOnceMax);
    this.#all = new Array<number>(Math.max(1, budgets.atOnceMax)).fill(0);
    for (const { source, target, leftS } of underWay) this.take(source, target, leftS);
  }

  firstFree(source: ProcessId, target: ProcessId): number {
    return Math.max(earliest(this.#all), earliest(this.#node(source)), earliest(this.#node(target)));
  }

  take(source: ProcessId, target: ProcessId, untilS: number): void {
    for (const slots of new Set([this.#all, this.#node(source), this.#node(target)]))
      slots[slots.indexOf(earliest(slots))] = untilS;
  }

  #node(id: ProcessId): number[] {
    let slots = this.#perNode.get(id);
    if (slots === undefined) {
      slots = new Array<number>(this.#perNodeMax).fill(0);
      this.#perNode.set(id, slots);
    }
    return slots;
  }
}

function earliest(slots: readonly number[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const at of slots) if (at < least) least = at;
  return least;
}
