import { describe, expect, it } from 'vitest';
import { withDeath } from './quarantine.ts';
import { BlockDetector, readRunning, SharedHandlerWatch } from './watchdog.ts';

describe('the mark of what is on the CPU', () => {
  it('names shard, handler and key while a handler runs, and nothing otherwise', () => {
    const watch = new SharedHandlerWatch();
    expect(readRunning(watch.shared)).toBeUndefined();
    watch.enter('cart/a%20b', 'add', 'key\n1');
    expect(readRunning(watch.shared)).toEqual({
      run: 1,
      shard: 'cart/a%20b',
      handler: 'add',
      idempotencyKey: 'key\n1',
    });
    watch.leave();
    watch.leave();
    expect(readRunning(watch.shared)).toBeUndefined();
    watch.enter('cart/2', 'look', undefined);
    expect(readRunning(watch.shared)).toEqual({ run: 3, shard: 'cart/2', handler: 'look' });
  });

  it('stays readable when a name is longer than its room', () => {
    const watch = new SharedHandlerWatch();
    watch.enter('cart/1', 'add', 'k'.repeat(10_000));
    expect(readRunning(watch.shared)?.shard).toBe('cart/1');
  });
});

describe('the block detector', () => {
  it('counts one run of one handler, not the time since any ran', () => {
    const detector = new BlockDetector(2_000);
    const run = (number: number) => ({ run: number, shard: 's/1', handler: 'h' });
    expect(detector.observe(run(1), 0)).toBe(false);
    expect(detector.observe(run(3), 1_900)).toBe(false);
    expect(detector.observe(run(3), 3_899)).toBe(false);
    expect(detector.observe(run(3), 3_900)).toBe(true);
    expect(detector.observe(undefined, 4_000)).toBe(false);
    expect(detector.observe(run(3), 5_000)).toBe(false);
  });
});

describe('the record of deaths', () => {
  const running = { shard: 's/1', handler: 'loop', idempotencyKey: 'k' };
  it('quarantines at the second process, not at the same one twice', () => {
    const first = withDeath(undefined, running, 'n1.a', 1_000);
    expect(first).toMatchObject({ deaths: ['n1.a'], quarantined: false, sinceMs: 1_000 });
    expect(withDeath(first, running, 'n1.a', 2_000)).toMatchObject({ deaths: ['n1.a'], quarantined: false });
    expect(withDeath(first, running, 'n2.b', 2_000)).toMatchObject({
      deaths: ['n1.a', 'n2.b'],
      quarantined: true,
    });
  });

  it('forgets a single death of long ago, never a quarantine', () => {
    const first = withDeath(undefined, running, 'n1.a', 0);
    const later = 2 * 60 * 60 * 1000;
    expect(withDeath(first, running, 'n2.b', later)).toMatchObject({ deaths: ['n2.b'], quarantined: false });
    const quarantined = withDeath(first, running, 'n2.b', 10);
    expect(withDeath(quarantined, running, 'n3.c', later).quarantined).toBe(true);
  });
});
