import { describe, expect, it } from 'vitest';
import { defer, flushThisTurn } from './turn.ts';

const turnEnd = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('a turn of the event loop', () => {
  it('runs what was deferred in order, and what that defers in the next turn', async () => {
    const seen: string[] = [];
    const done = new Promise<void>((resolve) => {
      defer(() => {
        seen.push('first');
        defer(() => {
          seen.push('later');
          resolve();
        });
      });
      defer(() => seen.push('second'));
    });
    await turnEnd();
    expect(seen).toEqual(['first', 'second']);
    await done;
    expect(seen).toEqual(['first', 'second', 'later']);
  });

  it('flushes what deferred work made, through any number of promises, before the next turn', async () => {
    const seen: string[] = [];
    defer(() => {
      let chain = Promise.resolve();
      for (let i = 0; i < 50; i++) chain = chain.then(() => {});
      void chain.then(() => flushThisTurn({ flush: () => seen.push('flushed') }));
      setImmediate(() => seen.push('next turn'));
    });
    await turnEnd();
    await turnEnd();
    expect(seen).toEqual(['flushed', 'next turn']);
  });

  it('flushes once what waited together', async () => {
    let flushes = 0;
    const first = { flush: () => flushes++ };
    flushThisTurn(first);
    await turnEnd();
    expect(flushes).toBe(1);
  });
});
