/**
 * Test plan: a copy's work in slices against a clock moved by hand, on a loop that requests fill as the test says. It rests
 * as the room says and is counted, but no longer than its limit in all; an urgent one rests as little as ever. Then what copies take
 * of the CPU, by a clock that is moved apart from the other: it is added up for whole, large ones alone.
 */
import { expect, it } from 'vitest';
import { SLICE_MS_MAX } from '../shard/limits.ts';
import { REST_MS_MAX } from './copy-room.ts';
import { COUNTED_BYTES_MIN, Copying, GIVE_WAY_MS_MAX } from './copying.ts';

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
  const copying = new Copying({ clock, loopBusyMs: () => busyMs, threadCpuMicros: () => 0 });
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
  const copy = copying.begin({ way: 'out', ...options });
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

/** CPU that the test spends, on a clock that stands still: what is added up is CPU, not time. */
function metered() {
  let micros = 0;
  const rests: (() => void)[] = [];
  const clock = {
    monotonicMs: () => 0,
    realtimeMs: () => 0,
    defer: () => {},
    setTimer: (_delayMs: number, run: () => void) => {
      rests.push(run);
      return () => {};
    },
  };
  const copying = new Copying({ clock, loopBusyMs: () => 0, threadCpuMicros: () => micros });
  const spend = (more: number) => {
    micros += more;
  };
  return { copying, spend, rest: () => rests.shift()!() };
}

it('adds up the CPU of slices and of bytes under way, and none that others spend between', () => {
  const { copying, spend, rest } = metered();
  const copy = copying.begin({ way: 'out', urgent: false });
  spend(9e6);
  const slicer = copy.slicer();
  spend(2_000);
  slicer.defer(() => {});
  spend(9e6);
  rest();
  spend(1_000);
  slicer.end();
  spend(9e6);
  for (let i = 0; i < 4; i++) {
    const carried = copy.carrying();
    spend(50);
    carried(COUNTED_BYTES_MIN / 4);
    spend(9e6);
  }
  // While it is under way it says nothing yet: its work and its bytes do not come together.
  expect(copying.work(1).out).toEqual({ bytes: 0, cpuSeconds: 0 });
  copy.end(COUNTED_BYTES_MIN);
  copy.end(COUNTED_BYTES_MIN);
  const { in: arrived, out } = copying.work(1);
  expect(out.bytes).toBe(COUNTED_BYTES_MIN);
  expect(out.cpuSeconds).toBeCloseTo(0.0032, 9);
  expect(arrived).toEqual({ bytes: 0, cpuSeconds: 0 });
  expect(copying.work(2).out.cpuSeconds).toBeCloseTo(0.0064, 9);
});

it('takes of what was seen so many times where it is told to', () => {
  const { copying, spend } = metered();
  const copy = copying.begin({ way: 'in', urgent: true });
  const carried = copy.carrying();
  spend(100);
  carried(COUNTED_BYTES_MIN, 8);
  copy.end(COUNTED_BYTES_MIN);
  expect(copying.work(1).in.cpuSeconds).toBeCloseTo(0.0008, 9);
});

it('adds up no copy that is small, was called off, or lacks a part', () => {
  const { copying, spend } = metered();
  for (const [carriedBytes, wholeBytes] of [
    [COUNTED_BYTES_MIN - 1, COUNTED_BYTES_MIN - 1],
    [COUNTED_BYTES_MIN, COUNTED_BYTES_MIN + 1],
    [5 * COUNTED_BYTES_MIN, undefined],
  ] as const) {
    const copy = copying.begin({ way: 'out', urgent: false });
    const carried = copy.carrying();
    spend(1_000);
    carried(carriedBytes);
    copy.end(wholeBytes);
    // Its end as a whole comes too late.
    copy.end(1);
  }
  expect(copying.work(1).out).toEqual({ bytes: 0, cpuSeconds: 0 });
  expect(copying.room.copies).toBe(0);
});
