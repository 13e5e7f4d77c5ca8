import { describe, expect, it } from 'vitest';
import { UserLatencies } from '../node/migration/user-latency.ts';
import { HandOffLatency, MEASURED_MAX, SAMPLE_MS_MAX } from './hand-off-latency.ts';

const shift = { migration: 'm-1', from: 'n1.a', to: 'n2.b', percent: 25 };
const standing = () => shift;

describe('what a gateway measures of a shard under migration', () => {
  it('is reported to the new primary once it serves, with what users waited before', () => {
    const latency = new HandOffLatency();
    latency.answered('room/a', shift, 'n1.a', 'n1.a', 'eu', 80);
    expect(latency.take(standing)).toEqual(new Map());
    latency.answered('room/a', shift, 'n2.b', 'n2.b', 'eu', 5);
    latency.answered('room/a', shift, 'n2.b', 'n2.b', 'us', 90);
    const byOrigin = {
      eu: { before: { count: 1, msSum: 80 }, after: { count: 1, msSum: 5 } },
      us: { before: { count: 0, msSum: 0 }, after: { count: 1, msSum: 90 } },
    };
    const report = { shard: 'room/a', migration: 'm-1', byOrigin };
    expect(latency.take(standing)).toEqual(new Map([['n2.b', [report]]]));
    expect(latency.take(standing)).toEqual(new Map());
  });

  it('leaves out what was served by a follower, passed on, or by a process of neither side', () => {
    const latency = new HandOffLatency();
    latency.answered('room/a', shift, 'n1.a', 'n2.b', 'eu', 80);
    latency.answered('room/a', shift, 'n2.b', 'n1.a', 'eu', 80);
    latency.answered('room/a', shift, 'n3.c', 'n3.c', 'eu', 80);
    expect(latency.size).toBe(0);
  });

  it('ends with the shift, begins anew with the next migration, and is bounded', () => {
    const latency = new HandOffLatency();
    latency.answered('room/a', shift, 'n2.b', 'n2.b', 'eu', 5);
    const next = { ...shift, migration: 'm-2' };
    latency.answered('room/a', next, 'n2.b', 'n2.b', 'eu', SAMPLE_MS_MAX * 10);
    const after = { count: 1, msSum: SAMPLE_MS_MAX };
    const report = {
      shard: 'room/a',
      migration: 'm-2',
      byOrigin: { eu: { before: { count: 0, msSum: 0 }, after } },
    };
    expect(latency.take(() => next)).toEqual(new Map([['n2.b', [report]]]));
    expect(latency.take(() => undefined)).toEqual(new Map());
    expect(latency.size).toBe(0);
    for (let i = 0; i < MEASURED_MAX + 5; i++) latency.answered(`room/${i}`, shift, 'n2.b', 'n2.b', 'eu', 5);
    expect(latency.size).toBe(MEASURED_MAX);
  });
});

describe('what the new primary keeps of it', () => {
  const report = (count: number, migration = 'm-1') => ({
    shard: 'room/a',
    migration,
    byOrigin: { eu: { before: { count: 2, msSum: 20 }, after: { count, msSum: count * 5 } } },
  });

  it('is the sum over gateways of the newest report of each, however often and late they come', () => {
    const kept = new UserLatencies();
    kept.heard('g1', report(3));
    kept.heard('g1', report(5));
    kept.heard('g1', report(3));
    kept.heard('g2', report(1));
    kept.heard('g2', report(1));
    const eu = { before: { count: 4, msSum: 40 }, after: { count: 6, msSum: 30 } };
    expect(kept.of('room/a')).toEqual({ migration: 'm-1', byOrigin: { eu } });
  });

  it('is of one migration, and forgotten with it', () => {
    const kept = new UserLatencies();
    kept.heard('g1', report(3));
    kept.heard('g1', report(1, 'm-2'));
    expect(kept.of('room/a')?.byOrigin.eu?.after.count).toBe(1);
    kept.forget('room/a', 'm-1');
    expect(kept.of('room/a')).toBeDefined();
    kept.forget('room/a', 'm-2');
    expect(kept.of('room/a')).toBeUndefined();
  });
});
