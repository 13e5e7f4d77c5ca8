/** Test plan: a cell that answers when told, and wrongly when told; every delta's fate must be known to its appender. */
import { describe, expect, it } from 'vitest';
import type { Log } from '../io/io.ts';
import type { Append, AppendResult, CellStore } from '../store/store.ts';
import { StoreError } from '../store/store.ts';
import { AppendBatcher, type Appender, UndurableBytes } from './append-batcher.ts';

class ManualClock {
  nowMs = 0;
  #timers: { atMs: number; fire: () => void }[] = [];
  #deferred: (() => void)[] = [];
  monotonicMs = () => this.nowMs;
  realtimeMs = () => this.nowMs;
  setTimer(delayMs: number, fire: () => void) {
    const timer = { atMs: this.nowMs + delayMs, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  defer(run: () => void) {
    this.#deferred.push(run);
  }
  async tick() {
    for (const run of this.#deferred.splice(0)) run();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }
  async advance(ms: number) {
    this.nowMs += ms;
    const due = this.#timers.filter((timer) => timer.atMs <= this.nowMs);
    this.#timers = this.#timers.filter((timer) => timer.atMs > this.nowMs);
    for (const timer of due) timer.fire();
    await this.tick();
  }
}

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

interface Call {
  batch: Append[];
  resolve: (results: AppendResult[]) => void;
  reject: (error: unknown) => void;
}

function world() {
  const clock = new ManualClock();
  const calls: Call[] = [];
  const undurable = new UndurableBytes(1_000);
  const store = {
    append: (batch: Append[]) =>
      new Promise<AppendResult[]>((resolve, reject) => calls.push({ batch, resolve, reject })),
  } as unknown as CellStore;
  const batcher = new AppendBatcher({ io: { clock, log }, store, undurable, silenceMs: 5_000 });
  const appender = (shard: string) => {
    const seen = { shard, appending: true, durable: 0, failure: '' };
    const it: Appender & typeof seen = Object.assign(seen, {
      appended: (seq: number) => {
        seen.durable = seq;
      },
      appendFailed: (reason: string) => {
        seen.failure = reason;
        seen.appending = false;
      },
    });
    return it;
  };
  const add = (to: Appender, seq: number) =>
    batcher.add(to, 1, seq, `${to.shard}#${seq}`, new Uint8Array(10));
  return { clock, calls, undurable, appender, add };
}

const ok: AppendResult = { ok: true };
const lost = () => new StoreError('unavailable', 'no answer');
const sent = (call: Call | undefined) => call?.batch.map(({ shard, seq }) => `${shard}:${seq}`);

describe('group commit', () => {
  it('sends what one tick brings, of all shards, in one call, and gathers while the store is busy', async () => {
    const { clock, calls, undurable, appender, add } = world();
    const a = appender('s/a');
    const b = appender('s/b');
    add(a, 1);
    add(b, 1);
    add(a, 2);
    await clock.tick();
    expect(calls.map(sent)).toEqual([['s/a:1', 's/b:1', 's/a:2']]);
    expect(undurable.bytes).toBe(30);
    add(b, 2);
    await clock.tick();
    expect(calls).toHaveLength(1);
    calls[0]!.resolve([ok, ok, ok]);
    await clock.tick();
    expect([a.durable, b.durable]).toEqual([2, 1]);
    expect(sent(calls[1])).toEqual(['s/b:2']);
    expect(undurable.bytes).toBe(10);
  });

  it('keeps several batches on their way to a store that is far', async () => {
    const { clock, calls, appender, add } = world();
    const a = appender('s/a');
    add(a, 1);
    await clock.tick();
    for (let seq = 2; seq <= 4; seq++) {
      add(a, seq);
      await clock.tick();
      await clock.advance(4);
    }
    expect(calls.map(sent)).toEqual([['s/a:1'], ['s/a:2'], ['s/a:3'], ['s/a:4']]);
  });
});

describe('refusals', () => {
  it('demotes exactly the shard that was fenced', async () => {
    const { clock, calls, undurable, appender, add } = world();
    const a = appender('s/a');
    const b = appender('s/b');
    add(a, 1);
    add(b, 1);
    add(a, 2);
    await clock.tick();
    const end: AppendResult = { ok: false, reason: 'seq', end: 0 };
    calls[0]!.resolve([{ ok: false, reason: 'fenced', fence: 2 }, ok, end]);
    await clock.tick();
    expect(a.failure).toContain('epoch 2');
    expect(b).toMatchObject({ durable: 1, failure: '' });
    expect(undurable.bytes).toBe(0);
  });

  it('finds the one that is too large by sending each alone', async () => {
    const { clock, calls, appender, add } = world();
    const a = appender('s/a');
    const b = appender('s/b');
    add(a, 1);
    add(b, 1);
    await clock.tick();
    calls[0]!.reject(new StoreError('too-large', 'over the limit'));
    await clock.tick();
    expect(calls.slice(1).map(sent)).toEqual([['s/a:1'], ['s/b:1']]);
    calls[1]!.reject(new StoreError('too-large', 'over the limit'));
    calls[2]!.resolve([ok]);
    await clock.tick();
    expect(a.failure).toContain('over the limit');
    expect(b.durable).toBe(1);
  });
});

describe('unknown outcomes (OWNERSHIP rule 3)', () => {
  it('are sent again unchanged and in order, after everything on its way has come back', async () => {
    const { clock, calls, appender, add } = world();
    const a = appender('s/a');
    add(a, 1);
    await clock.tick();
    await clock.advance(4);
    add(a, 2);
    await clock.tick();
    calls[0]!.reject(lost());
    await clock.tick();
    add(a, 3);
    await clock.tick();
    expect(calls).toHaveLength(2);
    // The second arrived where the first had not: not the shard's fault.
    calls[1]!.resolve([{ ok: false, reason: 'seq', end: 0 }]);
    await clock.tick();
    expect(a.failure).toBe('');
    await clock.advance(1_000);
    expect(sent(calls[2])).toEqual(['s/a:1', 's/a:2', 's/a:3']);
    expect(calls[2]!.batch[0]!.id).toBe(calls[0]!.batch[0]!.id);
    calls[2]!.resolve([ok, ok, ok]);
    await clock.tick();
    expect(a.durable).toBe(3);
  });

  it('leave the queue of a shard that was demoted meanwhile', async () => {
    const { clock, calls, undurable, appender, add } = world();
    const a = appender('s/a');
    add(a, 1);
    await clock.tick();
    calls[0]!.reject(lost());
    await clock.tick();
    a.appending = false;
    await clock.advance(1_000);
    expect(calls).toHaveLength(1);
    expect(undurable.bytes).toBe(0);
  });

  it('are given up when the cell stays silent (OWNERSHIP rule 1)', async () => {
    const { clock, calls, undurable, appender, add } = world();
    const a = appender('s/a');
    add(a, 1);
    await clock.tick();
    for (let i = 0; i < 20 && a.failure === ''; i++) {
      calls.at(-1)!.reject(lost());
      await clock.tick();
      await clock.advance(600);
    }
    expect(a.failure).toContain('no answer');
    expect(undurable.bytes).toBe(0);
  });
});
