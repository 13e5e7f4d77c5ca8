import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LatencyPromise } from '../model/loop.ts';
import type { LatencySum, UserLatency } from '../node/protocol.ts';
import { brokenPromise, formatMeasured, measuredSince, promisedCount } from './latency.ts';
import { SETTINGS_DEFAULT } from './settings.ts';

const policy = SETTINGS_DEFAULT.gates;
const sum = (count: number, meanMs: number): LatencySum => ({ count, msSum: count * meanMs });
const waits = (before: LatencySum, after: LatencySum) => ({ before, after });
const none = sum(0, 0);
const PROMISE: LatencyPromise = {
  'eu-west-1': { share: 0.6, nowMs: 85, thenMs: 1 },
  'us-east-1': { share: 0.4, nowMs: 1, thenMs: 85 },
};

describe('a promise', () => {
  it('is kept where users wait as far as they are, far ones included', () => {
    const kept = {
      'eu-west-1': waits(sum(50, 88), sum(60, 4)),
      'us-east-1': waits(sum(50, 3), sum(40, 90)),
    };
    expect(brokenPromise(PROMISE, kept, policy)).toBeUndefined();
  });

  it('is broken where an origin waits clearly longer and all are worse off', () => {
    const worse = {
      'eu-west-1': waits(sum(50, 88), sum(60, 140)),
      'us-east-1': waits(sum(50, 3), sum(40, 90)),
    };
    expect(brokenPromise(PROMISE, worse, policy)).toBe(
      'users in eu-west-1 wait 140.0 ms, 1.0 were promised; all wait 120.0 ms, 54.0 before',
    );
  });

  it('is not held against a target that is better than before all the same', () => {
    const better = { 'eu-west-1': waits(sum(50, 88), sum(60, 60)) };
    expect(brokenPromise(PROMISE, better, policy)).toBeUndefined();
  });

  it('takes the distance of the source where nothing was measured before', () => {
    expect(brokenPromise(PROMISE, { 'eu-west-1': waits(none, sum(60, 84)) }, policy)).toBeUndefined();
    expect(brokenPromise(PROMISE, { 'eu-west-1': waits(none, sum(60, 86)) }, policy)).toMatch(/85\.0 before/);
  });

  it('is judged by enough requests only, and by none of origins that were promised nothing', () => {
    expect(brokenPromise(PROMISE, { 'eu-west-1': waits(none, sum(29, 900)) }, policy)).toBeUndefined();
    expect(brokenPromise(PROMISE, { mars: waits(none, sum(900, 900)) }, policy)).toBeUndefined();
    expect(brokenPromise({}, { 'eu-west-1': waits(none, sum(900, 900)) }, policy)).toBeUndefined();
    expect(brokenPromise(PROMISE, undefined, policy)).toBeUndefined();
    // Nine slow requests of one origin among many good ones.
    const few = { 'eu-west-1': waits(none, sum(100, 2)), 'us-east-1': waits(none, sum(9, 2_000)) };
    expect(brokenPromise(PROMISE, few, policy)).toBeUndefined();
  });

  it('is never broken by latencies within its limits, nor where nobody waits longer than before', () => {
    const side = fc
      .tuple(fc.nat(200), fc.double({ min: 0, max: 2_000, noNaN: true }))
      .map(([n, ms]) => sum(n, ms));
    const latency: fc.Arbitrary<UserLatency> = fc.dictionary(
      fc.constantFrom('eu-west-1', 'us-east-1', 'mars'),
      fc.record({ before: side, after: side }),
    );
    fc.assert(
      fc.property(latency, (byOrigin) => {
        const says = brokenPromise(PROMISE, byOrigin, policy);
        const known = Object.entries(byOrigin).filter(([origin]) => PROMISE[origin] !== undefined);
        const missed = known.filter(([origin, { after }]) => {
          const limitMs = PROMISE[origin]!.thenMs * policy.latencyFactorMax + policy.latencyExtraMs;
          return after.count >= policy.samplesMin && after.msSum / after.count > limitMs;
        });
        const beforeMs = ([origin, { before: b }]: (typeof known)[number]) =>
          b.count >= policy.samplesMin ? b.msSum / b.count : PROMISE[origin]!.nowMs;
        const allWorse = known.every((one) => one[1].after.msSum / one[1].after.count > beforeMs(one) + 1e-6);
        if (missed.length === 0 || promisedCount(PROMISE, byOrigin) < policy.latencySamplesMin)
          expect(says).toBeUndefined();
        else if (allWorse) expect(says).toBeDefined();
        if (
          known.every(
            (one) => one[1].after.count === 0 || one[1].after.msSum / one[1].after.count <= beforeMs(one),
          )
        )
          expect(says).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it('and what became of it are shown by origin', () => {
    const measured = measuredSince({ 'eu-west-1': waits(none, sum(40, 2.1)), mars: waits(none, none) });
    expect(measured).toEqual({ 'eu-west-1': { count: 40, meanMs: 2.1 } });
    expect(formatMeasured(PROMISE, measured)).toBe(
      'eu-west-1 2.1 ms (promised 1.0), us-east-1 promised 85.0 ms, not measured',
    );
    expect(formatMeasured(undefined, undefined)).toBe('');
  });
});
