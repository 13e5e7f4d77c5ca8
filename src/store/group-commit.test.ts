import { describe, expect, it } from 'vitest';
import { GroupCommit, QUEUE_OPERATIONS_MAX } from './group-commit.ts';
import { SqliteCell } from './sqlite/cell-engine.ts';
import type { TransactionalEngine } from './sqlite/database.ts';
import { StoreError } from './store.ts';

/** An engine that only remembers: `kept` is what is durable. */
class Recorder implements TransactionalEngine {
  kept: string[] = [];
  #staged: string[] = [];
  calls: string[] = [];
  failCommits = 0;
  begin() {
    this.calls.push('begin');
    this.#staged = [];
  }
  commit() {
    this.calls.push('commit');
    if (this.failCommits-- > 0) throw new Error('disk I/O error');
    this.kept.push(...this.#staged);
  }
  rollback() {
    this.calls.push('rollback');
    this.#staged = [];
  }
  write(what: string) {
    this.#staged.push(what);
    return what;
  }
}

function manualClock() {
  const deferred: (() => void)[] = [];
  return {
    defer: (run: () => void) => void deferred.push(run),
    tick() {
      for (const run of deferred.splice(0)) run();
    },
  };
}

const settle = (promises: Promise<unknown>[]) =>
  Promise.allSettled(promises).then((results) =>
    results.map((result) =>
      result.status === 'fulfilled' ? result.value : `${(result.reason as StoreError).code}`,
    ),
  );

describe('group commit', () => {
  it('runs what one tick brought in one transaction, in order', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const results = settle(['a', 'b', 'c'].map((name) => commits.submit(1, () => engine.write(name))));
    expect(engine.calls).toEqual([]);
    clock.tick();
    expect(await results).toEqual(['a', 'b', 'c']);
    expect(engine.calls).toEqual(['begin', 'commit']);
    expect(engine.kept).toEqual(['a', 'b', 'c']);
  });

  it('answers only after the commit, and tells watchers before', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const order: string[] = [];
    const commits = new GroupCommit(engine, clock, () => order.push(`published ${engine.kept}`));
    const done = commits.submit(1, () => engine.write('a')).then(() => order.push('answered'));
    clock.tick();
    await done;
    expect(order).toEqual(['published a', 'answered']);
  });

  it('lets a refusal leave the others in the same transaction', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const results = settle([
      commits.submit(1, () => engine.write('a')),
      commits.submit(1, () => {
        throw new StoreError('invalid', 'no');
      }),
      commits.submit(1, () => engine.write('b')),
    ]);
    clock.tick();
    expect(await results).toEqual(['a', 'invalid', 'b']);
    expect(engine.kept).toEqual(['a', 'b']);
    expect(engine.calls).toEqual(['begin', 'commit']);
  });

  it('undoes all where an operation breaks half way, then gives each a transaction of its own', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const results = settle([
      commits.submit(1, () => engine.write('a')),
      commits.submit(1, () => {
        engine.write('half');
        throw new Error('constraint failed');
      }),
      commits.submit(1, () => engine.write('b')),
    ]);
    clock.tick();
    expect(await results).toEqual(['a', 'unavailable', 'b']);
    expect(engine.kept).toEqual(['a', 'b']);
  });

  it('says that the outcome is unknown where the commit fails, and goes on', async () => {
    const engine = new Recorder();
    engine.failCommits = 1;
    const clock = manualClock();
    const published: string[][] = [];
    const commits = new GroupCommit(engine, clock, () => published.push([...engine.kept]));
    const first = settle([
      commits.submit(1, () => engine.write('a')),
      commits.submit(1, () => {
        throw new StoreError('invalid', 'no');
      }),
    ]);
    clock.tick();
    expect(await first).toEqual(['unavailable', 'invalid']);
    expect(published).toEqual([]);
    const second = settle([commits.submit(1, () => engine.write('b'))]);
    clock.tick();
    expect(await second).toEqual(['b']);
    expect(engine.kept).toEqual(['b']);
  });

  it('refuses beyond its queue, by number and by bytes, and executes nothing of it', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const accepted = Array.from({ length: QUEUE_OPERATIONS_MAX }, () => commits.submit(1, () => 1));
    await expect(commits.submit(1, () => engine.write('late'))).rejects.toMatchObject({
      code: 'unavailable',
    });
    for (let i = 0; i < 10; i++) clock.tick();
    await Promise.all(accepted);
    expect(engine.kept).toEqual([]);
    await expect(commits.submit(1e9, () => engine.write('huge'))).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  it('refuses what waits when it closes', async () => {
    const engine = new Recorder();
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const results = settle([commits.submit(1, () => engine.write('a'))]);
    commits.close();
    clock.tick();
    expect(await results).toEqual(['unavailable']);
    expect(engine.kept).toEqual([]);
    await expect(commits.submit(1, () => 1)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('keeps small writes going where one does not fit the database any more', async () => {
    const engine = new SqliteCell({ databaseBytesMax: 200 * 1024 });
    const clock = manualClock();
    const commits = new GroupCommit(engine, clock);
    const append = (shard: string, bytes: number) =>
      commits.submit(bytes, () =>
        engine.append([{ shard, epoch: 1, seq: 1, id: 'x', delta: new Uint8Array(bytes) }]),
      );
    const results = settle([append('s/a', 10), append('s/b', 1_000_000), append('s/c', 10)]);
    clock.tick();
    expect(await results).toEqual([[{ ok: true }], 'too-large', [{ ok: true }]]);
    expect(engine.listShards()).toEqual(['s/a', 's/c']);
    engine.close();
  });
});
