import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backlogAfter, backlogMean, shareAbove, sojournMeanS, sojournP99S } from './queueing.ts';

describe('the stationary queue', () => {
  it('is an M/M/1: service time over what is left of the capacity', () => {
    expect(sojournMeanS(0.01, 0)).toBeCloseTo(0.01);
    expect(sojournMeanS(0.01, 0.5)).toBeCloseTo(0.02);
    expect(sojournP99S(0.01, 0.5)).toBeCloseTo(0.02 * Math.log(100));
  });

  it('stays finite beyond capacity: the backlog says the rest', () => {
    expect(sojournMeanS(0.01, 3)).toBeCloseTo(0.01 / 0.005);
  });
});

describe('the backlog', () => {
  it('agrees with small steps of the same line: end, mean and share above a limit', () => {
    const seconds = fc.double({ min: 1, max: 300, noNaN: true });
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 30, noNaN: true }),
        fc.double({ min: 0, max: 3, noNaN: true }),
        seconds,
        fc.double({ min: -1, max: 31, noNaN: true }),
        (waitS, rho, spanS, limitS) => {
          const maxS = 30;
          const parts = 20_000;
          let wait = waitS;
          let sum = 0;
          let above = 0;
          for (let i = 0; i < parts; i++) {
            if (limitS < 0 || wait > limitS) above++;
            const next = Math.min(maxS, Math.max(0, wait + ((rho - 1) * spanS) / parts));
            sum += (wait + next) / 2;
            wait = next;
          }
          expect(backlogAfter(waitS, rho, spanS, maxS)).toBeCloseTo(wait, 5);
          expect(backlogMean(waitS, rho, spanS, maxS)).toBeCloseTo(sum / parts, 1);
          const slack = Math.abs(rho - 1) < 1e-6 || Math.abs(waitS - limitS) < 1e-3 ? 1 : 0.002;
          expect(Math.abs(shareAbove(waitS, rho, spanS, maxS, limitS) - above / parts)).toBeLessThanOrEqual(
            slack,
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});
