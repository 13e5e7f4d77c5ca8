/**
 * The cell engine against a slow, obvious twin: random operations on few shards and small numbers, so that fences,
 * gaps, duplicates, overlaps and deletes meet often. After every transaction both must say the same of everything.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Append, AppendResult, FencedResult, LogEntry } from '../store.ts';
import { SqliteCell } from './cell-engine.ts';
import { openDatabase } from './database.ts';

interface TwinShard {
  fence: number;
  snapshot?: { seq: number; text: string };
  log: Map<number, { id: string; text: string }>;
}

/** What store.ts says, written down with no thought of speed. */
class Twin {
  shards = new Map<string, TwinShard>();

  shard(name: string): TwinShard {
    let shard = this.shards.get(name);
    if (!shard) {
      shard = { fence: 0, log: new Map() };
      this.shards.set(name, shard);
    }
    return shard;
  }

  end(name: string): number {
    const { snapshot, log } = this.shard(name);
    return Math.max(0, snapshot?.seq ?? 0, ...log.keys());
  }

  raiseFence(name: string, epoch: number): number {
    const shard = this.shard(name);
    shard.fence = Math.max(shard.fence, epoch);
    return shard.fence;
  }

  append({ shard: name, epoch, seq, id, delta }: Append): AppendResult {
    const shard = this.shard(name);
    if (shard.log.get(seq)?.id === id) return { ok: true };
    if (shard.fence > epoch) {
      // Which refusal a hopeless append of an unknown shard gets is the same either way: nothing is written.
      return { ok: false, reason: 'fenced', fence: shard.fence };
    }
    if (seq !== this.end(name) + 1) return { ok: false, reason: 'seq', end: this.end(name) };
    shard.log.set(seq, { id, text: Buffer.from(delta).toString() });
    return { ok: true };
  }

  putSnapshot(name: string, epoch: number, seq: number, text: string): FencedResult {
    const shard = this.shard(name);
    if (shard.fence > epoch) return { ok: false, reason: 'fenced', fence: shard.fence };
    if (shard.snapshot && seq < shard.snapshot.seq) return { ok: false, reason: 'stale' };
    if (shard.snapshot?.seq === seq) return { ok: true };
    if (seq > this.end(name)) shard.log.clear();
    shard.snapshot = { seq, text };
    return { ok: true };
  }

  trim(name: string, epoch: number, throughSeq: number): FencedResult {
    const shard = this.shard(name);
    if (shard.fence > epoch) return { ok: false, reason: 'fenced', fence: shard.fence };
    for (const seq of [...shard.log.keys()])
      if (seq <= throughSeq && seq <= (shard.snapshot?.seq ?? 0)) shard.log.delete(seq);
    return { ok: true };
  }

  deleteLog(name: string, epoch: number): FencedResult {
    const shard = this.shard(name);
    if (shard.fence > epoch) return { ok: false, reason: 'fenced', fence: shard.fence };
    shard.log.clear();
    delete shard.snapshot;
    return { ok: true };
  }

  entries(name: string, after: number): { seq: number; id: string; text: string }[] {
    return [...this.shard(name).log]
      .filter(([seq]) => seq > after)
      .sort(([a], [b]) => a - b)
      .map(([seq, { id, text }]) => ({ seq, id, text }));
  }

  copy(): Twin {
    const copy = new Twin();
    copy.shards = structuredClone(this.shards);
    return copy;
  }
}

const SHARDS = ['s/a', 's/b', 's/c'];
const shard = fc.constantFrom(...SHARDS);
const epoch = fc.integer({ min: 0, max: 4 });
const seq = fc.integer({ min: 0, max: 8 });
type Op =
  | { kind: 'raise'; shard: string; epoch: number }
  | { kind: 'append'; shard: string; epoch: number; offset: number; writer: string }
  | { kind: 'snapshot'; shard: string; epoch: number; seq: number }
  | { kind: 'trim'; shard: string; epoch: number; seq: number }
  | { kind: 'delete'; shard: string; epoch: number };
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('raise' as const), shard, epoch }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      shard,
      epoch,
      // Mostly end + 1, sometimes a retry or a gap.
      offset: fc.constantFrom(1, 1, 1, 1, 0, -1, 2),
      writer: fc.constantFrom('p', 'q'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('snapshot' as const), shard, epoch, seq }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('trim' as const), shard, epoch, seq }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), shard, epoch }) },
);
/** A transaction: what it does, and whether it commits, rolls back, or is followed by a restart. */
const transaction = fc.record({
  ops: fc.array(op, { minLength: 1, maxLength: 6 }),
  fate: fc.constantFrom(
    'commit' as const,
    'commit' as const,
    'commit' as const,
    'rollback' as const,
    'restart' as const,
  ),
});

describe('the cell engine', () => {
  it('says what its twin says, through rollbacks and restarts', () => {
    fc.assert(
      fc.property(
        fc.array(transaction, { maxLength: 25 }),
        fc.constantFrom(1, 2, 1000),
        (transactions, cachedShardsMax) => {
          const database = openDatabase(':memory:');
          try {
            let engine = new SqliteCell({ database, cachedShardsMax });
            let twin = new Twin();
            for (const { ops, fate } of transactions) {
              const before = twin.copy();
              engine.begin();
              for (const each of ops) expect(perform(engine, twin, each)).toBe(true);
              if (fate === 'rollback') {
                engine.rollback();
                twin = before;
              } else engine.commit();
              if (fate === 'restart') engine = new SqliteCell({ database, cachedShardsMax });
              compare(engine, twin);
            }
          } finally {
            database.close();
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('keeps what an error in one call did not touch', () => {
    const engine = new SqliteCell({});
    engine.begin();
    engine.append([{ shard: 's/a', epoch: 1, seq: 1, id: 'x', delta: Buffer.from('1') }]);
    expect(() => engine.raiseFence('s/a', -1)).toThrow(/whole number/);
    expect(() =>
      engine.append([
        { shard: 's/a', epoch: 1, seq: 2, id: 'y', delta: Buffer.from('2') },
        { shard: '', epoch: 1, seq: 1, id: 'z', delta: Buffer.from('3') },
      ]),
    ).toThrow(/not a shard id/);
    engine.commit();
    expect(engine.tail('s/a', 0, 1000)).toMatchObject({ end: 1 });
    engine.close();
  });

  it('refuses growth beyond its size and stays readable', () => {
    const engine = new SqliteCell({ databaseBytesMax: 256 * 1024 });
    let written = 0;
    expect(() => {
      for (let i = 1; i <= 100; i++) {
        engine.begin();
        engine.append([{ shard: 's/a', epoch: 1, seq: i, id: String(i), delta: Buffer.alloc(10_000, i) }]);
        engine.commit();
        written = i;
      }
    }).toThrow(/full/);
    engine.rollback();
    expect(written).toBeGreaterThan(5);
    expect(engine.tail('s/a', 0, 1).end).toBe(written);
    engine.close();
  });
});

function perform(engine: SqliteCell, twin: Twin, op: Op): boolean {
  switch (op.kind) {
    case 'raise':
      expect(engine.raiseFence(op.shard, op.epoch)).toBe(twin.raiseFence(op.shard, op.epoch));
      return true;
    case 'append': {
      const at = Math.max(0, twin.end(op.shard) + op.offset);
      const item: Append = {
        shard: op.shard,
        epoch: op.epoch,
        seq: at,
        id: `${op.writer}.${at}`,
        delta: Buffer.from(`${op.writer}@${at}`),
      };
      expect(engine.append([item])).toEqual([twin.append(item)]);
      return true;
    }
    case 'snapshot': {
      const text = `snapshot ${op.seq}`;
      expect(engine.putSnapshot(op.shard, op.epoch, { seq: op.seq, bytes: Buffer.from(text) })).toEqual(
        twin.putSnapshot(op.shard, op.epoch, op.seq, text),
      );
      return true;
    }
    case 'trim':
      expect(engine.trim(op.shard, op.epoch, op.seq)).toEqual(twin.trim(op.shard, op.epoch, op.seq));
      return true;
    case 'delete':
      expect(engine.deleteLog(op.shard, op.epoch)).toEqual(twin.deleteLog(op.shard, op.epoch));
      return true;
  }
}

function compare(engine: SqliteCell, twin: Twin): void {
  for (const name of SHARDS) {
    const fence = twin.shard(name).fence;
    engine.begin();
    const opening = engine.open(name, 0);
    const tail = engine.tail(name, 0, 1_000_000);
    engine.commit();
    const snapshot = twin.shard(name).snapshot;
    expect(opening.fence).toBe(fence);
    expect(opening.end).toBe(twin.end(name));
    expect(
      opening.snapshot && [opening.snapshot.seq, Buffer.from(opening.snapshot.bytes).toString()],
    ).toEqual(snapshot && [snapshot.seq, snapshot.text]);
    expect(opening.entries.map(asText)).toEqual(twin.entries(name, snapshot?.seq ?? 0));
    // The opening is contiguous from the snapshot to the end: nothing else may ever be replayed.
    expect(opening.entries.map((each) => each.seq)).toEqual(
      Array.from({ length: opening.end - (snapshot?.seq ?? 0) }, (_, i) => (snapshot?.seq ?? 0) + 1 + i),
    );
    const all = twin.entries(name, 0);
    expect(tail.entries.map(asText)).toEqual(all);
    expect(tail.firstSeq).toBe(all[0]?.seq ?? twin.end(name) + 1);
  }
  expect(engine.listShards()).toEqual(
    SHARDS.filter((name) => twin.shard(name).snapshot || twin.shard(name).log.size > 0),
  );
}

function asText({ seq, id, delta }: LogEntry): { seq: number; id: string; text: string } {
  return { seq, id, text: Buffer.from(delta).toString() };
}
