/** Test plan: chunks leave by a clock moved by hand, and the bytes that left are held against the pace of both ends. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CHUNK_WAIT_MS_MAX, PullPace } from './pull-pace.ts';

const CHUNK_BYTES = 256 * 1024;
const MB = 1e6;

/** Leaves whenever it may; the room of both ends may change with time. */
function pull(
  pace: PullPace,
  durationMs: number,
  own: (nowMs: number) => number,
  source: (nowMs: number) => number | undefined,
) {
  const leftMs: number[] = [];
  for (let nowMs = 0; nowMs < durationMs; nowMs++) {
    while (pace.waitMs(own(nowMs), source(nowMs), nowMs) < 1) {
      pace.left(CHUNK_BYTES, nowMs);
      leftMs.push(nowMs);
    }
  }
  return leftMs;
}

it('goes as fast as the slowest of the order, this node and the source', () => {
  const speed = fc.double({ min: 2 * MB, max: 400 * MB, noNaN: true });
  fc.assert(
    fc.property(speed, speed, fc.option(speed, { nil: undefined }), (ordered, own, source) => {
      const left = pull(
        new PullPace(ordered, 0),
        5_000,
        () => own,
        () => source,
      );
      const bytesPerSecond = (left.length * CHUNK_BYTES) / 5;
      const slowest = Math.min(ordered, own, source ?? own);
      expect(bytesPerSecond).toBeGreaterThan(slowest * 0.9 - CHUNK_BYTES / 5);
      expect(bytesPerSecond).toBeLessThan(slowest * 1.1 + CHUNK_BYTES / 5);
    }),
    { numRuns: 100 },
  );
});

it('never waits long between two chunks, however little room there is', () => {
  const left = pull(
    new PullPace(64 * MB, 0),
    60_000,
    () => 0,
    () => 1,
  );
  const gaps = left.slice(1).map((atMs, i) => atMs - left[i]!);
  expect(gaps.length).toBeGreaterThan(25);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(CHUNK_WAIT_MS_MAX + 1);
});

it('goes on at once when room comes, and owes nothing for chunks that left late', () => {
  const left = pull(
    new PullPace(64 * MB, 0),
    12_000,
    (nowMs) => (nowMs < 10_000 ? 1 : 64 * MB),
    () => undefined,
  );
  expect(left.filter((atMs) => atMs < 10_000).length).toBeLessThan(10);
  const after = left.filter((atMs) => atMs >= 10_000);
  expect(after[0]).toBeLessThan(10_050);
  expect((after.length * CHUNK_BYTES) / 2 / MB).toBeGreaterThan(55);
});

it('is not moved by being asked', () => {
  const pace = new PullPace(MB, 0);
  pace.left(CHUNK_BYTES, 0);
  const waits = [1, 1, 1].map((nowMs) => pace.waitMs(MB, undefined, nowMs));
  expect(new Set(waits).size).toBe(1);
});
