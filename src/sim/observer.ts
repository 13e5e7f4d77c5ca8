/**
 * Looks over the shoulder of the stores and of every replica that opens, and notes what must never happen even where
 * no user could see it: later rules often keep an earlier one's failure from showing.
 *
 *  - an assignment's epoch never goes down, and one epoch belongs to one process (OWNERSHIP rule 1);
 *  - a log opened in an epoch holds nothing that a later epoch wrote (OWNERSHIP rule 2);
 *  - when a shard moves to another cell, that cell's fence is at the new epoch and its log ends where the old one does
 *    (OWNERSHIP rule 9).
 */
import type { CellId, Epoch, ProcessId, ShardId } from '../model/ids.ts';
import { type AssignmentRecord, decodeRecord, shardOfKey } from '../model/records.ts';
import type { ShardRuntime } from '../shard/contract.ts';
import type { StoreCall } from '../store/server.ts';
import type { SqliteCell } from '../store/sqlite/cell-engine.ts';
import type { Append, Transaction, TransactionResult } from '../store/store.ts';
import type { Violation } from './history.ts';
import type { World } from './world.ts';

export class Observer {
  readonly violations: Violation[] = [];
  readonly #world: World;
  readonly #assignments = new Map<ShardId, AssignmentRecord>();
  /** Owner of each epoch of each shard. */
  readonly #owners = new Map<string, ProcessId>();
  /** Append id -> epoch that first wrote it. */
  readonly #writtenIn = new Map<string, Epoch>();
  readonly #cell: (id: CellId) => SqliteCell | undefined;

  constructor(world: World, cell: (id: CellId) => SqliteCell | undefined) {
    this.#world = world;
    this.#cell = cell;
  }

  assignment(shard: ShardId): AssignmentRecord | undefined {
    return this.#assignments.get(shard);
  }

  /** A call that a store has carried out. */
  saw({ method, payload }: StoreCall, result: unknown): void {
    if (method === 'control.transact') this.#transaction(payload as Transaction, result as TransactionResult);
    else if (method === 'cell.append') {
      const { batch } = payload as { batch: Append[] };
      const results = result as ({ ok: boolean } | null)[] | null;
      for (const [index, { id, epoch }] of batch.entries())
        if (results === null || results[index]?.ok !== false)
          if (!this.#writtenIn.has(id)) this.#writtenIn.set(id, epoch);
    }
  }

  /** A node's app, watched as it opens logs. */
  watch(runtime: ShardRuntime, processId: ProcessId): ShardRuntime {
    return {
      manifest: () => runtime.manifest(),
      admission: (request) => runtime.admission(request),
      open: (options) => {
        if (options.role === 'primary') {
          for (const { id, seq } of options.opening.entries) {
            const writtenIn = this.#writtenIn.get(id) ?? 0;
            if (writtenIn > options.epoch)
              this.#say(
                'opened-late',
                `${options.shard}: ${processId} opens epoch ${options.epoch} with delta ${seq} of epoch ${writtenIn}`,
              );
          }
        }
        return runtime.open(options);
      },
    };
  }

  #transaction({ operations }: Transaction, { succeeded }: TransactionResult): void {
    if (!succeeded) return;
    for (const operation of operations) {
      if (!('put' in operation) || !operation.put.startsWith('own/')) continue;
      const shard = shardOfKey(operation.put);
      const next = decodeRecord<AssignmentRecord>(operation.value);
      const before = this.#assignments.get(shard);
      this.#assignments.set(shard, next);
      const epoch = `${shard} ${next.epoch}`;
      const owner = this.#owners.get(epoch);
      if (before && next.epoch < before.epoch)
        this.#say('assignment-forked', `${shard} went from epoch ${before.epoch} back to ${next.epoch}`);
      else if (owner !== undefined && owner !== next.primary)
        this.#say(
          'assignment-forked',
          `epoch ${next.epoch} of ${shard} was of ${owner}, now of ${next.primary}`,
        );
      this.#owners.set(epoch, next.primary);
      if (before && before.cell !== next.cell) this.#moved(shard, before, next);
    }
  }

  #moved(shard: ShardId, before: AssignmentRecord, next: AssignmentRecord): void {
    const from = this.#cell(before.cell);
    const to = this.#cell(next.cell);
    if (!from || !to) return;
    // Raising to 0 changes nothing and tells the fence.
    const fence = to.raiseFence(shard, 0);
    if (fence < next.epoch)
      this.#say('unfenced', `${shard} moved to ${next.cell} in epoch ${next.epoch}, whose fence is ${fence}`);
    const [oldEnd, newEnd] = [from, to].map((cell) => cell.tail(shard, Number.MAX_SAFE_INTEGER, 1).end);
    if (oldEnd !== newEnd)
      this.#say(
        'incomplete-copy',
        `${shard} ends at ${oldEnd} in ${before.cell}, at ${newEnd} in ${next.cell}`,
      );
  }

  #say(rule: Violation['rule'], text: string): void {
    this.violations.push({ rule, text });
    this.#world.note(`${rule}: ${text}`);
  }
}
