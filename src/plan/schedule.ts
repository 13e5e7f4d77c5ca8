/**
 * Wanted moves into time: which start now, which later and when, and which will be late.
 *
 * Time is laid out in ticks. First what is worth being done at once, in the order in which it is wanted (placement gives what must
 * move first, then by dollars gained for each second that a move takes), each at the first tick at which every budget has room for
 * as long as it takes: starts a tick, moves and bytes under way, moves at its source and its target. What is under way holds its
 * slots until it is done. A move that others make room for starts with or after them, never without.
 *
 * Then what is worth it only from a moment on, backward from there: the latest need first, each at the last tick at which it
 * is still done in time and the budgets have room. So a move waits until it has to start, and where many are needed at
 * one moment some start earlier, as many as the budgets ask for; of those with the same moment the ones wanted most start
 * last. What finds no such tick starts at the first one after.
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
  /**
   * Where being there is worth less than staying before {@link neededAtS}: seconds from now before which it is not worth starting.
   * Absent: it is worth it at once.
   */
  earliestAtS?: number;
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
const TICKS_MAX = 300;
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
  const lay = (move: Move, place: () => Found) => {
    let because: string | undefined;
    if (moving.has(move.shard)) because = 'a move of the shard is under way';
    else if (startTick.has(move.shard)) because = 'a move of the shard is planned';
    else if ((move.after ?? []).some((shard) => !moving.has(shard) && !startTick.has(shard)))
      because = 'room for it is made by moves that wait';
    else if (moves.length >= LAID_OUT_MAX) because = `${LAID_OUT_MAX} moves are laid out already`;
    const found = because === undefined ? place() : undefined;
    if (found === undefined || found.tick < 0) {
      leftOut.push({ move, because: because ?? found?.heldBy ?? 'nothing has room for it' });
      return;
    }
    const { tick, heldBy } = found;
    slots.take(tick, move, move.durationS);
    slots.started[tick]!++;
    startTick.set(move.shard, tick);
    const startAtS = tick * budgets.tickS;
    const doneAtS = startAtS + move.durationS;
    moves.push({
      move,
      startAtS,
      doneAtS,
      dueAtS: move.neededAtS - move.durationS,
      late: doneAtS > move.neededAtS + 1e-9,
      ...(tick > 0 && heldBy !== undefined ? { heldBy } : {}),
    });
  };
  for (const move of wanted)
    if (move.earliestAtS === undefined)
      lay(move, () => {
        let from = 0;
        for (const shard of move.after ?? []) from = Math.max(from, startTick.get(shard) ?? 0);
        const { tick, heldBy } = slots.first(from, move);
        return { tick, heldBy: heldBy ?? (from > 0 ? 'room made by others' : undefined) };
      });
  const due = wanted.filter(({ earliestAtS }) => earliestAtS !== undefined);
  // Stable: of those due at one moment the one wanted most is laid out first, so it starts last.
  due.sort((a, b) => b.neededAtS - b.durationS - (a.neededAtS - a.durationS));
  for (const move of due)
    lay(move, () => {
      const dueTick = Math.floor(Math.max(0, move.neededAtS - move.durationS) / budgets.tickS + 1e-9);
      const from = Math.max(0, Math.ceil(move.earliestAtS! / budgets.tickS - 1e-9));
      const found = slots.last(from, dueTick, move);
      return found.tick >= 0 ? found : slots.first(Math.max(from, dueTick + 1), move);
    });
  // Stable: within a tick they stay in the order in which they were laid out.
  moves.sort((a, b) => a.startAtS - b.startAtS);
  return { moves, leftOut };
}

/** A tick at which a move may start (-1: none), and what held it back from the one where it would have been best. */
interface Found {
  tick: number;
  heldBy?: string | undefined;
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

  /** The first tick from `from` on at which it may start. */
  first(from: number, move: WantedMove): Found {
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

  /** The last tick in `from..until` at which it may start. What is due after what is laid out is not asked for yet: none. */
  last(from: number, until: number, move: WantedMove): Found {
    let heldBy: string | undefined;
    for (let tick = until < this.#ticks ? until : -1; tick >= from; tick--) {
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
