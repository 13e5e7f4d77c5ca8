/**
 * Test plan: a copy's work in slices against a clock moved by hand, on a loop that requests fill as the test says. It rests
 * as the room says and is counted, but no longer than its limit in all; an urgent one rests as little as ever.
 */
import { expect, it } from 'vitest';
import { SLICE_MS_MAX } from '../shard/limits.ts';
import { REST_MS_MAX } from './copy-room.ts';
import { Copying, GIVE_WAY_MS_MAX } from './copying.ts';

const SLICES = 400;

/** Works so many slices; says how long that took and how long it rested. */
function work(requestShare: number, options: { urgent: boolean }) {
  let nowMs = 0;
  let busyMs = 0;
  let due: { atMs: number; run: () => void } | undefined;
  const clock = {
    monotonicMs: () => nowMs,
    realtimeMs: () => nowMs,
    defer: () => {},
    setTimer: (delayMs: number, run: () => void) => {
      due = { atMs: nowMs + delayMs, run };
      return () => {};
    },
  };
  const copying = new Copying({ clock, loopBusyMs: () => busyMs });
  /** What requests wait for meanwhile, they take as soon as the loop is free. */
  let waitingMs = 0;
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      const stepMs = Math.min(50, left);
      waitingMs += stepMs * requestShare;
      const takenMs = Math.min(stepMs, waitingMs);
      waitingMs -= takenMs;
      nowMs += stepMs;
      busyMs += takenMs;
      copying.look();
    }
  };
  copying.look();
  pass(2_000);
  const copy = copying.begin(options);
  const slicer = copy.slicer();
  const startMs = nowMs;
  const rests: number[] = [];
  for (let slice = 1; slice <= SLICES; slice++) {
    nowMs += SLICE_MS_MAX;
    busyMs += SLICE_MS_MAX;
    waitingMs += SLICE_MS_MAX * requestShare;
    if (slice === SLICES) break;
    slicer.defer(() => {});
    const restMs = due!.atMs - nowMs;
    rests.push(restMs);
    pass(restMs);
    due!.run();
  }
  slicer.end();
  copy.end();
  copy.end();
  return { copying, rests, tookMs: nowMs - startMs };
}

it('rests between its slices so that both together leave room, and is counted', () => {
  const { copying, tookMs } = work(0.65, { urgent: false });
  expect(copying.room.copyMs).toBe(SLICES * SLICE_MS_MAX);
  expect(copying.room.copies).toBe(0);
  const share = (SLICES * SLICE_MS_MAX) / tookMs;
  expect(share).toBeGreaterThan(0.15);
  expect(share).toBeLessThan(0.25);
});

it('gives way for so long and then goes on as if it were alone', () => {
  const { rests, tookMs } = work(0.84, { urgent: false });
  expect(rests[0]).toBeGreaterThan(10 * SLICE_MS_MAX);
  expect(rests.at(-1)).toBe(SLICE_MS_MAX);
  expect(tookMs).toBeLessThan(GIVE_WAY_MS_MAX + 2 * SLICES * SLICE_MS_MAX + REST_MS_MAX);
});

it('rests as little as ever on an idle node, and where the copy is urgent', () => {
  expect(new Set(work(0, { urgent: false }).rests)).toEqual(new Set([SLICE_MS_MAX]));
  expect(new Set(work(0.84, { urgent: true }).rests)).toEqual(new Set([SLICE_MS_MAX]));
});
