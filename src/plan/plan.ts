/**
 * Current placement against target: an immutable plan of the moves to start in this tick, and of what follows when.
 *
 * Guarantees: nothing starts beyond the budgets, what is in flight counted; a shard in flight is not planned again; every
 * move's gain pays for it and for what its last move still owes; what is needed later starts early only where budgets
 * would not suffice then; order is placement's (what must move, then by gain for each
 * second a move takes); a move never starts without those that make room for it; the same input gives the same plan. When
 * nothing moves, the plan says why.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { LaterMove, Move, Plan } from '../model/loop.ts';
import { DEFAULT_BUDGETS, MOVE_DURATION_S, type MoveBudgets } from '../placement/defaults.ts';
import type { PlacementResult, Relocation } from '../placement/input.ts';
import { scheduleMoves } from './schedule.ts';

/** Seconds between plans, where the caller names none. */
const TICK_S = 1;
/** Seconds of what follows that are laid out; every tick does so anew. */
const LAID_OUT_S = 60;
/** Moves to come that a plan names. */
const LATER_MAX = 200;

/** A move that is under way. */
export interface InFlight {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  bytes: number;
  /** Seconds until it is done, as far as that can be told. */
  leftS?: number;
}

export interface PlanInput {
  placement: PlacementResult;
  inFlight: readonly InFlight[];
  /** Epochs as last read: a move of an older epoch is refused by the node. */
  epochOf: (shard: ShardId) => number;
  /** The plan before this one; generations only grow. */
  parent: number;
  atMs: number;
  budgets?: Partial<MoveBudgets>;
  /** Seconds until the next plan. */
  tickS?: number;
  /** Nodes being emptied: moves off them count as drains. */
  draining?: ReadonlySet<ProcessId>;
}

export interface PlanResult {
  /** Undefined where nothing is to be done. */
  plan: Plan | undefined;
  /** One plain sentence. */
  reason: string;
  /** Moves that were worth it but did not fit the budgets. */
  waiting: number;
}

export function makePlan(input: PlanInput): PlanResult {
  const budgets: MoveBudgets = { ...DEFAULT_BUDGETS, ...input.budgets };
  const { relocations, upcoming = [] } = input.placement;
  const wanted = [...relocations, ...upcoming].map((relocation) => ({
    ...relocation,
    durationS: relocation.doneS,
  }));
  const underWay = input.inFlight.map((flight) => ({ leftS: MOVE_DURATION_S, ...flight }));
  const schedule = scheduleMoves(wanted, underWay, {
    ...budgets,
    tickS: input.tickS ?? TICK_S,
    horizonS: upcoming.reduce((most, { neededAtS }) => Math.max(most, neededAtS), LAID_OUT_S),
  });
  const limits: Record<string, number> = {};
  const count = (name: string) => {
    limits[name] = (limits[name] ?? 0) + 1;
  };
  const moves: Move[] = [];
  const later: LaterMove[] = [];
  for (const { move, startAtS, doneAtS, late, heldBy } of schedule.moves) {
    if (startAtS === 0) {
      moves.push(toMove(move, input));
      continue;
    }
    // What is not due yet waits for nothing.
    if (move.earliestAtS === undefined) count(heldBy ?? 'moves started per tick');
    if (later.length < LATER_MAX)
      later.push({
        shard: move.shard,
        target: move.target,
        startInS: startAtS,
        doneInS: doneAtS,
        late,
      });
  }
  const moving = new Set(input.inFlight.map(({ shard }) => shard));
  for (const { move, because } of schedule.leftOut)
    if (!moving.has(move.shard) && move.earliestAtS === undefined) count(because);
  const waiting = Object.values(limits).reduce((a, b) => a + b, 0);
  const plan =
    moves.length === 0
      ? undefined
      : Object.freeze({
          generation: input.parent + 1,
          parent: input.parent,
          madeAtMs: input.atMs,
          moves: Object.freeze(moves) as Move[],
          ...(later.length > 0 ? { later: Object.freeze(later) as LaterMove[] } : {}),
        });
  return { plan, waiting, reason: reasonFor(input, moves, limits, waiting) };
}

function toMove(relocation: Relocation, input: PlanInput): Move {
  return Object.freeze({
    shard: relocation.shard,
    source: relocation.source,
    target: relocation.target,
    cell: relocation.cell,
    epoch: input.epochOf(relocation.shard),
    reason: relocation.reason,
    priority:
      relocation.kind === 'improve'
        ? 'improve'
        : input.draining?.has(relocation.source)
          ? 'drain'
          : 'emergency',
    bytes: relocation.bytes,
  } satisfies Move);
}

function reasonFor(
  input: PlanInput,
  moves: readonly Move[],
  limits: Record<string, number>,
  waiting: number,
): string {
  const flying = input.inFlight.length > 0 ? ` ${input.inFlight.length} moves are under way.` : '';
  const named = Object.entries(limits)
    .map(([name, times]) => `${name} (${times})`)
    .join(', ');
  if (moves.length === 0) {
    if (waiting > 0) return `Nothing starts: ${waiting} moves wait for budgets: ${named}.${flying}`;
    return `Nothing moves: ${input.placement.reason}.${flying}`;
  }
  const first = moves[0]!;
  const rest = waiting > 0 ? ` ${waiting} more wait: ${named}.` : '';
  return `${moves.length} ${moves.length === 1 ? 'move' : 'moves'}, first ${first.shard} to ${first.target}: ${first.reason.text}.${rest}${flying}`;
}
