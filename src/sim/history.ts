/**
 * What simulated users saw, and what must be true of it whatever the app does.
 *
 * Every reply of a shard carries the seq it was made from (a command: its own delta, or what it read; a query: the last
 * delta it read), and deltas of one shard are totally ordered. So a reply must not show less than any reply that had
 * come back before its request was sent. A second answering primary, a stale read, a lost acknowledged write break that.
 */
import type { ShardId } from '../model/ids.ts';
import { CLOCK_DRIFT_MAX } from './schedule.ts';

export interface Operation {
  shard: ShardId;
  kind: 'command' | 'query';
  handler: string;
  input: unknown;
  client: string;
  invokedMs: number;
  /** When the reply came that ended it; absent while it is unanswered. */
  returnedMs?: number | undefined;
  status?: number;
  seq?: number;
  epoch?: number;
  /** The reply's body, parsed. */
  output?: unknown;
  /** Who answered. */
  servedBy?: string;
  /** Answered from the idempotency window: by a later primary, perhaps, with the seq of the first. */
  replayed?: boolean | undefined;
  /** A query that a standby may answer: from a state at most so old. */
  staleMsMax?: number | undefined;
  /** How old the answer said its state may be; absent where it was as fresh as any. */
  stalenessMs?: number | undefined;
}

/** Which promise is broken. */
export type Rule =
  /** Acknowledged and not there. */
  | 'lost'
  /** One command, two effects. */
  | 'duplicated'
  /** Shows less than was seen before. */
  | 'stale'
  /** Two histories of one shard. */
  | 'forked'
  /** Two processes ran commands in one epoch. */
  | 'two-primaries'
  /** No order of the commands explains the replies. */
  | 'not-linearizable'
  /** An epoch opened a log with what a later epoch wrote. */
  | 'opened-late'
  /** A shard went to a cell whose fence was not raised first. */
  | 'unfenced'
  /** A shard went to a cell whose log did not reach the end of the old one. */
  | 'incomplete-copy'
  /** An assignment went back, or two processes got one epoch. */
  | 'assignment-forked'
  /** Something does not come to an end, or does not answer, though the faults are over. */
  | 'stuck'
  /** The same shard answers differently at different gateways. */
  | 'diverged'
  /** An invariant of the app's own test. */
  | 'invariant'
  /** The run itself failed. */
  | 'crashed';

export interface Violation {
  rule: Rule;
  text: string;
}

/** Sees operations as they are made; ask it when the run is over. */
export class History {
  readonly operations: Operation[] = [];

  invoke(operation: Operation): Operation {
    this.operations.push(operation);
    return operation;
  }

  byShard(): Map<ShardId, Operation[]> {
    return Map.groupBy(this.operations, (operation) => operation.shard);
  }

  /** What is wrong with the seqs, epochs and servers that users were told. */
  check(): Violation[] {
    return [...this.byShard()].flatMap(([shard, operations]) => [
      ...checkOrder(shard, operations.filter(succeeded)),
      ...checkPrimaries(shard, operations.filter(succeeded)),
    ]);
  }
}

export function succeeded(operation: Operation): boolean {
  return operation.status !== undefined && operation.status >= 200 && operation.status < 300;
}

/** From when on an answer must know of all that had returned: when it was asked for, or as much earlier as it says. */
export function dueMs({ invokedMs, stalenessMs = 0 }: Operation): number {
  // The age was measured by a clock that drifts.
  return invokedMs - stalenessMs * (1 + CLOCK_DRIFT_MAX);
}

/**
 * Calls `visit` for each operation in order of {@link dueMs}, with the operation of the highest `rank` among those that
 * had returned before: the floor of what it may show.
 */
export function sweep(
  operations: readonly Operation[],
  rank: (operation: Operation) => number | undefined,
  visit: (operation: Operation, floor: Operation | undefined, floorRank: number) => void,
): void {
  const byInvocation = [...operations].sort((a, b) => dueMs(a) - dueMs(b));
  const byReturn = operations
    .filter(({ returnedMs }) => returnedMs !== undefined)
    .sort((a, b) => a.returnedMs! - b.returnedMs!);
  let returned = 0;
  let floor: Operation | undefined;
  let floorRank = 0;
  for (const operation of byInvocation) {
    while (returned < byReturn.length && byReturn[returned]!.returnedMs! < dueMs(operation)) {
      const candidate = byReturn[returned++]!;
      const candidateRank = rank(candidate);
      if (candidateRank === undefined || candidateRank <= floorRank) continue;
      floor = candidate;
      floorRank = candidateRank;
    }
    visit(operation, floor, floorRank);
  }
}

function checkOrder(shard: ShardId, operations: Operation[]): Violation[] {
  const violations: Violation[] = [];
  for (const operation of operations) {
    const { stalenessMs = 0, staleMsMax = 0 } = operation;
    if (stalenessMs > staleMsMax)
      violations.push({
        rule: 'stale',
        text: `${shard}: ${describeOperation(operation)} is up to ${stalenessMs} ms old, and may be ${staleMsMax}`,
      });
  }
  sweep(
    operations,
    ({ seq }) => seq,
    (operation, floor, floorSeq) => {
      if (operation.seq === undefined)
        violations.push({
          rule: 'forked',
          text: `${shard}: a reply without a seq (${describeOperation(operation)})`,
        });
      else if (operation.seq < floorSeq)
        violations.push({
          rule: 'stale',
          text: `${shard}: ${describeOperation(operation)} shows seq ${operation.seq}, though ${describeOperation(floor!)} had shown ${floorSeq}`,
        });
    },
  );
  return violations;
}

/** One answering primary an epoch, and epochs that grow with the log. */
function checkPrimaries(shard: ShardId, operations: Operation[]): Violation[] {
  const violations: Violation[] = [];
  const byEpoch = new Map<number, Operation>();
  for (const operation of operations) {
    if (operation.kind !== 'command' || operation.epoch === undefined) continue;
    const other = byEpoch.get(operation.epoch);
    if (other === undefined) byEpoch.set(operation.epoch, operation);
    else if (other.servedBy !== operation.servedBy) {
      violations.push({
        rule: 'two-primaries',
        text: `${shard}: ${describeOperation(other)} and ${describeOperation(operation)} ran in one epoch`,
      });
    }
  }
  const commands = operations.filter(
    ({ kind, seq, replayed }) => kind === 'command' && seq !== undefined && !replayed,
  );
  commands.sort((a, b) => a.seq! - b.seq! || (a.epoch ?? 0) - (b.epoch ?? 0));
  for (let i = 1; i < commands.length; i++) {
    const [before, after] = [commands[i - 1]!, commands[i]!];
    if (after.seq === before.seq || (after.epoch ?? 0) >= (before.epoch ?? 0)) continue;
    violations.push({
      rule: 'forked',
      text: `${shard}: ${describeOperation(after)} at seq ${after.seq} is of an older epoch than ${describeOperation(before)} at seq ${before.seq}`,
    });
  }
  return violations;
}

export function describeOperation(operation: Operation): string {
  const { handler, client, invokedMs, servedBy, epoch, input } = operation;
  const what = input === undefined ? handler : `${handler} ${JSON.stringify(input)}`;
  return `${what} of ${client} at ${(invokedMs / 1000).toFixed(3)}s by ${servedBy ?? '?'} epoch ${epoch ?? '?'}`;
}
