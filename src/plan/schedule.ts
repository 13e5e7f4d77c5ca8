/**
 * Wanted moves into time: which start now, which later and when, and which will be late.
 *
 * Time is laid out in ticks. Moves are taken in the order in which they are wanted (placement gives what must move first, then
 * by dollars gained for each second that a move takes), each at the first tick at which every budget has room for as long as it
 * takes: starts a tick, moves and bytes under way, moves at its source and its target. What is under way holds its slots until it is
 * done. A move that others make room for starts with or after them, never without.
 *
 * A move is due when it must start to be done before it is needed: its length is what its bytes take at the measured bandwidth
 * beside a fixed part. Pure and deterministic; nothing is moved twice. A move that cannot be done in time is kept and marked
 * late: late is still worth its gain, and the caller can tell what more room in the budgets would buy.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';

export interface WantedMove {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  bytes: number;
  /** From the start until requests go to the target. */
  durationS: number;
  /** Seconds from now when it should be done: the step of the forecast that asks for it. */
  neededAtS: number;
  /** Shards whose moves make room for it. */
  after?: readonly ShardId[];
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
  tickS: number;
  /** Seconds that are laid out; what would start later waits for a later plan. */
  horizonS: number;
  startedPerTick: number;
  inFlightMax: number;
  bytesInFlightMax: number;
  perNodeInFlightMax: number;
}

export interface ScheduledMove<Move extends WantedMove = WantedMove> {
  move: Move;
  startAtS: number;
  doneAtS: number;
  /** When it has to start to be done in time; below 0: it is too late already. */
  dueAtS: number;
  late: boolean;
  /** The budget that held it back at first, where it does not start now. */
  heldBy?: string;
}

export interface Schedule<Move extends WantedMove = WantedMove> {
  /** In the order in which they start. */
  moves: ScheduledMove<Move>[];
  leftOut: { move: Move; because: string }[];
}

/** Ticks laid out at most: beyond, everything was decided anew many times. */
const TICKS_MAX = 120;
/** Moves laid out at most; what comes after them starts in a later plan anyway. */
const LAID_OUT_MAX = 5_000;

export function scheduleMoves<Move extends WantedMove>(
  wanted: readonly Move[],
  underWay: readonly MoveUnderWay[],
  budgets: ScheduleBudgets,
): Schedule<Move> {
  const slots = new Slots(budgets);
  for (const move of underWay) slots.take(0, move, Math.max(budgets.tickS, move.leftS));
  const moving = new Set(underWay.map(({ shard }) => shard));
  const startTick = new Map<ShardId, number>();
  const moves: ScheduledMove<Move>[] = [];
  const leftOut: Schedule<Move>['leftOut'] = [];
  for (const move of wanted) {
    const because = moving.has(move.shard)
      ? 'a move of the shard is under way'
      : startTick.has(move.shard)
        ? 'a move of the shard is planned'
        : undefined;
    if (because !== undefined) {
      leftOut.push({ move, because });
      continue;
    }
    const maker = (move.after ?? []).find((shard) => !moving.has(shard) && !startTick.has(shard));
    if (maker !== undefined) {
      leftOut.push({ move, because: 'room for it is made by moves that wait' });
      continue;
    }
    let from = 0;
    for (const shard of move.after ?? []) from = Math.max(from, startTick.get(shard) ?? 0);
    const found = moves.length >= LAID_OUT_MAX ? undefined : slots.first(from, move);
    const heldBy = found?.heldBy ?? (from > 0 ? 'room made by others' : undefined);
    if (found === undefined || found.tick < 0) {
      leftOut.push({ move, because: heldBy ?? `${LAID_OUT_MAX} moves are laid out already` });
      continue;
    }
    slots.take(found.tick, move, move.durationS);
    slots.started[found.tick]!++;
    startTick.set(move.shard, found.tick);
    const startAtS = found.tick * budgets.tickS;
    const doneAtS = startAtS + move.durationS;
    moves.push({
      move,
      startAtS,
      doneAtS,
      dueAtS: move.neededAtS - move.durationS,
      late: doneAtS > move.neededAtS + 1e-9,
      ...(found.tick > 0 && heldBy !== undefined ? { heldBy } : {}),
    });
  }
  // Stable: within a tick they stay in the order in which they are wanted.
  moves.sort((a, b) => a.startAtS - b.startAtS);
  return { moves, leftOut };
}

/** How much of every budget is used in each tick. */
class Slots {
  readonly started: Int32Array;
  readonly #ticks: number;
  readonly #budgets: ScheduleBudgets;
  readonly #moves: Int32Array;
  readonly #bytes: Float64Array;
  readonly #perNode = new Map<ProcessId, Int32Array>();
  /** No tick before it can start another move: what is full stays full, since slots are only taken. */
  #firstOpen = 0;

  constructor(budgets: ScheduleBudgets) {
    this.#budgets = budgets;
    this.#ticks = Math.max(1, Math.min(TICKS_MAX, Math.ceil(budgets.horizonS / budgets.tickS)));
    this.started = new Int32Array(this.#ticks);
    this.#moves = new Int32Array(this.#ticks);
    this.#bytes = new Float64Array(this.#ticks);
  }

  /** The first tick from `from` on at which it may start (-1: none), and what held it back before that. */
  first(from: number, move: WantedMove): { tick: number; heldBy?: string } {
    const { startedPerTick } = this.#budgets;
    while (this.#firstOpen < this.#ticks && this.started[this.#firstOpen]! >= startedPerTick)
      this.#firstOpen++;
    let heldBy = this.#firstOpen > from ? 'moves started per tick' : undefined;
    for (let tick = Math.max(from, this.#firstOpen); tick < this.#ticks; tick++) {
      const refused = this.#refusal(tick, move);
      if (refused === undefined) return { tick, heldBy };
      heldBy ??= refused;
    }
    return { tick: -1, heldBy };
  }

  take(
    tick: number,
    { source, target, bytes }: Pick<WantedMove, 'source' | 'target' | 'bytes'>,
    lastsS: number,
  ): void {
    const until = this.#until(tick, lastsS);
    for (let t = tick; t < until; t++) {
      this.#moves[t]!++;
      this.#bytes[t]! += bytes;
      this.#node(source)[t]!++;
      if (target !== source) this.#node(target)[t]!++;
    }
  }

  #refusal(tick: number, { source, target, bytes, durationS }: WantedMove): string | undefined {
    const { startedPerTick, inFlightMax, bytesInFlightMax, perNodeInFlightMax } = this.#budgets;
    if (this.started[tick]! >= startedPerTick) return 'moves started per tick';
    const until = this.#until(tick, durationS);
    const atSource = this.#node(source);
    const atTarget = this.#node(target);
    for (let t = tick; t < until; t++) {
      if (this.#moves[t]! >= inFlightMax) return 'moves in flight';
      // A single shard bigger than the budget must still be able to move, alone.
      if (this.#bytes[t]! > 0 && this.#bytes[t]! + bytes > bytesInFlightMax) return 'bytes in flight';
      if (atSource[t]! >= perNodeInFlightMax || atTarget[t]! >= perNodeInFlightMax)
        return 'moves in flight per node';
    }
    return undefined;
  }

  #until(tick: number, lastsS: number): number {
    return Math.min(this.#ticks, tick + Math.max(1, Math.ceil(lastsS / this.#budgets.tickS - 1e-9)));
  }

  #node(id: ProcessId): Int32Array {
    let slots = this.#perNode.get(id);
    if (slots === undefined) {
      slots = new Int32Array(this.#ticks);
      this.#perNode.set(id, slots);
    }
    return slots;
  }
}
