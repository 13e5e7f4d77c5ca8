/** The audit's arithmetic: what was promised against what is on disk. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Acknowledgements, auditKey, type RoomOnDisk } from '../../examples/demo/acknowledgements.ts';
import { figuresOf, quantile, RequestLog } from '../../examples/demo/request-log.ts';

const clean = (last: Record<string, number>): RoomOnDisk => ({ last, missing: [], gaps: 0, repeats: 0 });

describe('the audit', () => {
  it('finds nothing wrong where everything acknowledged is there', () => {
    const promised = { ada: { acknowledged: 3, unknown: [] }, bob: { acknowledged: 1, unknown: [] } };
    expect(auditKey(promised, clean({ ada: 3, bob: 1 }))).toEqual({
      acknowledged: 4,
      lost: 0,
      duplicated: 0,
    });
  });

  it('counts a lost end, a lost middle and a lost room', () => {
    const promised = { ada: { acknowledged: 3, unknown: [] } };
    expect(auditKey(promised, clean({ ada: 1 })).lost).toBe(2);
    expect(auditKey(promised, { last: { ada: 3 }, missing: ['ada#2'], gaps: 1, repeats: 0 }).lost).toBe(1);
    expect(auditKey(promised, undefined).lost).toBe(3);
  });

  it('lets a command whose outcome is unknown be there or not', () => {
    const promised = { ada: { acknowledged: 3, unknown: [2] } };
    expect(auditKey(promised, { last: { ada: 3 }, missing: ['ada#2'], gaps: 1, repeats: 0 }).lost).toBe(0);
    expect(auditKey(promised, clean({ ada: 3 }))).toEqual({ acknowledged: 2, lost: 0, duplicated: 0 });
  });

  it('counts what happened twice, and gaps that the room could no longer name', () => {
    const promised = { ada: { acknowledged: 1, unknown: [] } };
    expect(auditKey(promised, { last: { ada: 1 }, missing: [], gaps: 2, repeats: 3 })).toEqual({
      acknowledged: 1,
      lost: 2,
      duplicated: 3,
    });
  });

  it('notices every single loss and repeat in a random history', () => {
    const outcome = fc.constantFrom('ok', 'lost', 'unknown-done', 'unknown-not', 'twice');
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 30 }), (outcomes) => {
        const acknowledgements = new Acknowledgements();
        const room: RoomOnDisk = clean({});
        let last = 0;
        for (const [i, what] of outcomes.entries()) {
          const number = i + 1;
          acknowledgements.note('k', 'ada', number, what.startsWith('unknown') ? 'unknown' : 'acknowledged');
          if (what === 'lost' || what === 'unknown-not') continue;
          for (let skipped = last + 1; skipped < number; skipped++) {
            room.gaps++;
            room.missing.push(`ada#${skipped}`);
          }
          last = number;
          room.last.ada = number;
          if (what === 'twice') room.repeats++;
        }
        const audit = auditKey(acknowledgements.toJSON().k ?? {}, room);
        expect(audit.lost).toBe(outcomes.filter((what) => what === 'lost').length);
        expect(audit.duplicated).toBe(outcomes.filter((what) => what === 'twice').length);
        expect(audit.acknowledged).toBe(acknowledgements.acknowledged);
      }),
    );
  });
});

describe('the request log', () => {
  it('gives back what was put in, also from bytes', () => {
    const request = fc.record({
      scheduledMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      latencyMs: fc.double({ min: 0, max: 1e5, noNaN: true }),
      origin: fc.nat(2),
      key: fc.nat(1999),
      command: fc.boolean(),
      failed: fc.boolean(),
      served: fc.option(fc.nat(2), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(request), (requests) => {
        const log = new RequestLog();
        for (const one of requests) log.add(one);
        const again = new RequestLog(Buffer.from(log.bytes()));
        expect(requests.map((_, i) => again.get(i))).toEqual(requests);
        expect(again.count).toBe(requests.length);
      }),
    );
  });

  it('scores from a moment on, failures apart', () => {
    const log = new RequestLog();
    const add = (scheduledMs: number, latencyMs: number, failed = false, served?: number) =>
      log.add({ scheduledMs, latencyMs, origin: 0, key: 0, command: false, failed, served });
    add(10, 9999);
    add(100, 50, false, 0);
    add(101, 150, false, 1);
    add(102, 100);
    add(103, 30_000, true);
    expect(figuresOf(log, 100)).toEqual({
      requests: 4,
      failed: 1,
      latencyMs: { p50: 100, p99: 150, mean: 100 },
      over100MsShare: 0.3333,
      crossRegionShare: 0.5,
    });
  });

  it('has quantiles by nearest rank', () => {
    expect([0, 0.5, 0.99, 1].map((q) => quantile([1, 2, 3, 4], q))).toEqual([1, 2, 4, 4]);
    expect(quantile([], 0.5)).toBe(0);
  });
});
