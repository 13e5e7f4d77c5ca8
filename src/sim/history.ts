/**
 * What simulated users saw, and what must be true of it.
 *
 * Every reply of a shard carries the seq it was made from (a command: its own delta; a query: the last delta it read),
 * and deltas of one shard are totally ordered. So linearizability needs no search: a reply must not show less than any
 * reply that had come back before its request was sent, and a command must show more. A second answering primary, a
 * stale read, a lost acknowledged write each break that.
 */
import type { ShardId } from '../model/ids.ts';

export interface Operation {
  shard: ShardId;
  kind: 'command' | 'query';
  client: string;
  /** The client's own number of the command on this shard, from 1; 0 for queries. */
  number: number;
  invokedMs: number;
  returnedMs?: number;
  /** Absent while unanswered. */
  status?: number;
  seq?: number;
  epoch?: number;
  /** For queries and commands: what the counter showed. */
  value?: number;
  /** Who answered. */
  servedBy?: string;
  /** A query that a standby may answer: from a state at most so old. */
  staleMsMax?: number;
  /** How old the answer said it may be; absent where it was as fresh as any. */
  stalenessMs?: number;
}

export interface Violation {
  rule: 'lost' | 'duplicated' | 'stale' | 'forked' | 'stuck' | 'diverged';
  text: string;
}

/** The state every shard of the simulated app ends with: last number and repeats a client, total of effects. */
export interface FinalState {
  total: number;
  /** client -> [highest number applied, repeats seen, gaps seen]. */
  clients: Record<string, [last: number, repeats: number, gaps: number]>;
}

export class History {
  readonly operations: Operation[] = [];

  invoke(operation: Omit<Operation, 'returnedMs' | 'status'>): Operation {
    const added: Operation = operation;
    this.operations.push(added);
    return added;
  }

  /** Everything that is wrong with what users saw. */
  check(): Violation[] {
    const byShard = Map.groupBy(this.operations.filter(answered), (operation) => operation.shard);
    return [...byShard].flatMap(([shard, operations]) => checkShard(shard, operations));
  }

  /** Compares acknowledged commands with the final states read from the store. */
  checkFinal(finals: ReadonlyMap<ShardId, FinalState>): Violation[] {
    const violations: Violation[] = [];
    const acknowledged = new Map<string, { shard: ShardId; client: string; count: number; last: number }>();
    const sent = new Map<ShardId, number>();
    for (const operation of this.operations) {
      if (operation.kind !== 'command') continue;
      sent.set(operation.shard, (sent.get(operation.shard) ?? 0) + 1);
      if (!answered(operation)) continue;
      const id = `${operation.shard} ${operation.client}`;
      const entry = acknowledged.get(id) ?? {
        shard: operation.shard,
        client: operation.client,
        count: 0,
        last: 0,
      };
      entry.count++;
      entry.last = Math.max(entry.last, operation.number);
      acknowledged.set(id, entry);
    }
    for (const { shard, client, last } of acknowledged.values()) {
      const applied = finals.get(shard)?.clients[client];
      if (!applied || applied[0] < last) {
        violations.push({
          rule: 'lost',
          text: `${shard}: ${client} was acknowledged up to ${last}, the log holds up to ${applied?.[0] ?? 0}`,
        });
      }
    }
    for (const [shard, final] of finals) {
      for (const [client, [, repeats]] of Object.entries(final.clients)) {
        if (repeats > 0)
          violations.push({
            rule: 'duplicated',
            text: `${shard}: ${repeats} commands of ${client} ran twice`,
          });
      }
      const total = sent.get(shard) ?? 0;
      if (final.total > total) {
        violations.push({
          rule: 'duplicated',
          text: `${shard}: ${final.total} effects of ${total} commands`,
        });
      }
    }
    return violations;
  }
}

function answered(operation: Operation): boolean {
  return operation.status !== undefined && operation.status >= 200 && operation.status < 300;
}

function checkShard(shard: ShardId, operations: Operation[]): Violation[] {
  const violations: Violation[] = [];
  const bySeq = new Map<number, Operation>();
  for (const operation of operations) {
    if (operation.seq === undefined) {
      violations.push({ rule: 'forked', text: `${shard}: a reply without a seq (${describe(operation)})` });
      continue;
    }
    if (operation.kind !== 'command') continue;
    const other = bySeq.get(operation.seq);
    if (other) {
      violations.push({
        rule: 'forked',
        text: `${shard}: two commands at seq ${operation.seq}: ${describe(other)} and ${describe(operation)}`,
      });
    }
    bySeq.set(operation.seq, operation);
  }
  for (const operation of operations) {
    const { stalenessMs = 0, staleMsMax = 0 } = operation;
    if (stalenessMs <= staleMsMax) continue;
    violations.push({
      rule: 'stale',
      text: `${shard}: ${describe(operation)} is up to ${stalenessMs} ms old, and may be ${staleMsMax}`,
    });
  }
  // Sweep over invocations in time, with the highest seq that had returned by then; an answer that may be out of date
  // must show what had returned by so much earlier.
  const dueMs = ({ invokedMs, stalenessMs = 0 }: Operation) => invokedMs - stalenessMs;
  const byInvocation = [...operations].sort((a, b) => dueMs(a) - dueMs(b));
  const byReturn = [...operations].sort((a, b) => a.returnedMs! - b.returnedMs!);
  let returned = 0;
  let floor: Operation | undefined;
  for (const operation of byInvocation) {
    while (returned < byReturn.length && byReturn[returned]!.returnedMs! < dueMs(operation)) {
      const candidate = byReturn[returned++]!;
      if (floor === undefined || (candidate.seq ?? 0) > (floor.seq ?? 0)) floor = candidate;
    }
    const least = (floor?.seq ?? 0) + (operation.kind === 'command' ? 1 : 0);
    if (operation.seq !== undefined && operation.seq < least) {
      violations.push({
        rule: 'stale',
        text: `${shard}: ${describe(operation)} shows seq ${operation.seq}, though ${describe(floor!)} had shown ${floor!.seq}`,
      });
    }
  }
  // The counter is the number of effects: at one seq every reply shows one value.
  const values = new Map<number, Operation>();
  for (const operation of operations) {
    if (operation.seq === undefined || operation.value === undefined) continue;
    const other = values.get(operation.seq);
    if (other && other.value !== operation.value) {
      violations.push({
        rule: 'forked',
        text: `${shard}: seq ${operation.seq} showed ${other.value} (${describe(other)}) and ${operation.value} (${describe(operation)})`,
      });
    }
    values.set(operation.seq, operation);
  }
  return violations;
}

function describe(operation: Operation): string {
  const what = operation.kind === 'command' ? `command ${operation.number}` : 'query';
  return `${what} of ${operation.client} at ${(operation.invokedMs / 1000).toFixed(3)}s by ${operation.servedBy ?? '?'} epoch ${operation.epoch ?? '?'}`;
}
