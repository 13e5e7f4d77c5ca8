/** What the parts of the suite for cells share: the store under test, and short ways to fill and to read a log. */
import { afterEach, beforeEach, expect } from 'vitest';
import type { Append, AppendResult, CellStore, LogEntry, StoreErrorCode } from './store.ts';

export interface CellFixture {
  store: CellStore;
  /** Stops the engine and starts it on the same data. Absent where an engine keeps nothing. */
  reopen?: () => Promise<CellStore>;
  close: () => Promise<void>;
}

export const A = 'room/a';
export const B = 'room/b';
export const OK = { ok: true };

/** One store a test; `store` is another one after `fixture.reopen`. */
export interface CellSuite {
  fixture: CellFixture;
  store: CellStore;
  append(shard: string, epoch: number, seq: number, id?: string): Promise<AppendResult>;
  fill(shard: string, epoch: number, from: number, to: number): Promise<void>;
}

/** Call it inside a `describe`: it makes a store before each test and closes it after. */
export function cellSuite(make: () => Promise<CellFixture>): CellSuite {
  const suite: CellSuite = {
    fixture: undefined as unknown as CellFixture,
    store: undefined as unknown as CellStore,
    append: (shard, epoch, seq, id = `p.${seq}`) =>
      suite.store.append([entry(shard, epoch, seq, id)]).then((results) => results[0]!),
    async fill(shard, epoch, from, to) {
      const batch: Append[] = [];
      for (let seq = from; seq <= to; seq++) batch.push(entry(shard, epoch, seq, `p.${seq}`));
      expect(await suite.store.append(batch)).toEqual(batch.map(() => OK));
    },
  };
  beforeEach(async () => {
    suite.fixture = await make();
    suite.store = suite.fixture.store;
  });
  afterEach(() => suite.fixture.close());
  return suite;
}

export async function expectCode(promise: Promise<unknown>, code: StoreErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'StoreError', code });
}

export function deltaOf(shard: string, seq: number): Uint8Array {
  return Buffer.from(`${shard}@${seq}`);
}

export function entry(shard: string, epoch: number, seq: number, id = `p.${seq}`): Append {
  return { shard, epoch, seq, id, delta: deltaOf(shard, seq) };
}

/** As it is read back: the delta compares by content, whichever kind of byte array an engine gives. */
export function logEntry(shard: string, seq: number) {
  return { seq, id: `p.${seq}`, delta: expect.toSatisfy((delta) => same(delta, deltaOf(shard, seq))) };
}

export function bytes(length: number, seed: number): Uint8Array {
  const filled = new Uint8Array(length);
  for (let i = 0; i < length; i++) filled[i] = (i * 31 + seed * 7 + (i >> 10)) & 0xff;
  return filled;
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export async function readAll(store: CellStore, shard: string, after: number): Promise<LogEntry[]> {
  const all: LogEntry[] = [];
  for (let afterSeq = after; ; ) {
    const { entries } = await store.tail(shard, afterSeq, 3_000_000);
    if (entries.length === 0) return all;
    all.push(...entries);
    afterSeq = entries.at(-1)!.seq;
  }
}
