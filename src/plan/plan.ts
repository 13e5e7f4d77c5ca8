/**
 * Current placement against target: an immutable plan of the moves worth starting in this tick.
 *
 * Guarantees: nothing starts beyond the budgets, what is in flight counted; a shard in flight is not planned again; every
 * move's gain pays for it and for what its last move still owes; order is by net gain per move; the same input gives
 * the same plan. When nothing moves, the plan says why.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { Move, Plan } from '../model/loop.ts';
import { DEFAULT_BUDGETS, type MoveBudgets } from '../placement/defaults.ts';
import type { PlacementResult, Relocation } from '../placement/input.ts';

/** A move that is under way. */
export interface InFlight {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  bytes: number;
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
  const { relocations } = input.placement;
  const busy = new Map<ProcessId, number>();
  const moving = new Set<ShardId>();
  let bytes = 0;
  for (const flight of input.inFlight) {
    moving.add(flight.shard);
    bytes += flight.bytes;
    count(busy, flight.source);
    count(busy, flight.target);
  }
  const moves: Move[] = [];
  const limits: Record<string, number> = {};
  for (const relocation of relocations) {
    if (moving.has(relocation.shard)) continue;
    const limit = limitOf(relocation, budgets, busy, moves.length, input.inFlight.length, bytes);
    if (limit !== undefined) {
      limits[limit] = (limits[limit] ?? 0) + 1;
      continue;
    }
    bytes += relocation.bytes;
    count(busy, relocation.source);
    count(busy, relocation.target);
    moves.push(toMove(relocation, input));
  }
  const waiting = Object.values(limits).reduce((a, b) => a + b, 0);
  const plan =
    moves.length === 0
      ? undefined
      : Object.freeze({
          generation: input.parent + 1,
          parent: input.parent,
          madeAtMs: input.atMs,
          moves: Object.freeze(moves) as Move[],
        });
  return { plan, waiting, reason: reasonFor(input, moves, limits, waiting) };
}

function limitOf(
  relocation: Relocation,
  budgets: MoveBudgets,
  busy: Map<ProcessId, number>,
  started: number,
  inFlight: number,
  bytes: number,
): string | undefined {
  if (started >= budgets.startedPerTick) return 'moves started per tick';
  if (inFlight + started >= budgets.inFlightMax) return 'moves in flight';
  // A single shard bigger than the budget must still be able to move, alone.
  if (bytes > 0 && bytes + relocation.bytes > budgets.bytesInFlightMax) return 'bytes in flight';
  if ((busy.get(relocation.source) ?? 0) >= budgets.perNodeInFlightMax) return 'moves in flight per node';
  if ((busy.get(relocation.target) ?? 0) >= budgets.perNodeInFlightMax) return 'moves in flight per node';
  return undefined;
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

function count(busy: Map<ProcessId, number>, node: ProcessId): void {
  busy.set(node, (busy.get(node) ?? 0) + 1);
}
