/**
 * Test plan: a node's loop that requests and copies fill as the test says, looked at as often as a node does. What copies
 * may take follows the rule on what requests took; relief is begun by a node that was full for long, not by a moment;
 * what one copy gets is its part of that, by what a byte cost.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COPY_ROOM_SHARE, COPY_SHARE_MIN, copyShareOf } from '../model/copy-pace.ts';
import { CopyRoom, RELIEF_MS, RELIEF_WINDOW_MS, REST_MS_MAX, WINDOW_MS } from './copy-room.ts';

const LOOK_MS = 50;
const REST_MS_MIN = 2;

/** A loop with a past. */
function loop(room = new CopyRoom()) {
  let nowMs = 0;
  let busyMs = 0;
  room.looked(0, 0);
  return {
    room,
    get nowMs() {
      return nowMs;
    },
    /** Requests want a share for some time; copies take what they are said to, or all they are given. */
    run(ms: number, requests: number, copies: number | 'all' = 0) {
      for (let doneMs = 0; doneMs < ms; doneMs += LOOK_MS) {
        const wanted = copies === 'all' ? Math.min(0.5, room.share(nowMs)) : copies;
        nowMs += LOOK_MS;
        room.worked(wanted * LOOK_MS);
        busyMs += Math.min(1, requests + wanted) * LOOK_MS;
        room.looked(nowMs, busyMs);
      }
    },
  };
}

describe('the room of a node', () => {
  it('is that of an idle one before anything is measured', () => {
    const room = new CopyRoom();
    expect(room.share(0)).toBe(COPY_ROOM_SHARE);
    room.looked(0, 0);
    room.looked(LOOK_MS, LOOK_MS);
    expect(room.share(LOOK_MS)).toBe(COPY_ROOM_SHARE);
  });

  it('is what requests leave, whatever copies take of it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.84, noNaN: true }), (requests) => {
        const { room, run, nowMs } = loop();
        run(5_000, requests, 'all');
        expect(room.requestShare).toBeCloseTo(requests, 6);
        expect(room.share(nowMs)).toBeCloseTo(copyShareOf(requests), 6);
      }),
      { numRuns: 30 },
    );
  });

  it('follows requests within its window, and forgets what is older', () => {
    const { room, run } = loop();
    run(10_000, 0.1);
    run(WINDOW_MS, 0.6);
    expect(room.requestShare).toBeCloseTo(0.6, 6);
    run(WINDOW_MS, 0);
    expect(room.requestShare).toBeCloseTo(0, 6);
  });

  it('is the least there is while a full second may be chance, and all of it once it is not', () => {
    const world = loop();
    world.run(5_000, 0.5);
    world.run(WINDOW_MS, 0.95);
    expect(world.room.isRelief(world.nowMs)).toBe(false);
    expect(world.room.share(world.nowMs)).toBe(COPY_SHARE_MIN);
    world.run(RELIEF_WINDOW_MS, 0.95);
    expect(world.room.isRelief(world.nowMs)).toBe(true);
    expect(world.room.share(world.nowMs)).toBe(1);
    expect(world.room.restMs(2, REST_MS_MIN, world.nowMs)).toBe(REST_MS_MIN);
    expect(world.room.bytesPerSecond(world.nowMs)).toBe(Number.POSITIVE_INFINITY);
  });

  it('stays for relief though copies then leave requests less, and asks again after a while', () => {
    const world = loop();
    world.run(RELIEF_WINDOW_MS + LOOK_MS, 1);
    expect(world.room.isRelief(world.nowMs)).toBe(true);
    world.run(RELIEF_MS - LOOK_MS * 2, 1, 0.5);
    expect(world.room.isRelief(world.nowMs)).toBe(true);
    expect(world.room.requestShare).toBeLessThan(0.6);
    world.run(LOOK_MS * 4, 1, 0.5);
    expect(world.room.isRelief(world.nowMs)).toBe(false);
    // Copies give way again, so that the truth shows, and relief comes back.
    world.run(RELIEF_WINDOW_MS * 2, 1, 'all');
    expect(world.room.isRelief(world.nowMs)).toBe(true);
  });

  it('ends relief as soon as the loop has time to spare', () => {
    const world = loop();
    world.run(RELIEF_WINDOW_MS + LOOK_MS, 1);
    world.run(WINDOW_MS + LOOK_MS, 0.4, 0.2);
    expect(world.room.isRelief(world.nowMs)).toBe(false);
    expect(world.room.share(world.nowMs)).toBeCloseTo(0.45, 1);
  });
});

describe('one copy', () => {
  it('rests so that its slices are its part, not shorter than before and not for ever', () => {
    const { room, run, nowMs } = loop();
    expect(room.restMs(2, REST_MS_MIN, nowMs)).toBe(REST_MS_MIN);
    run(2_000, 0.65);
    // A fifth of the loop: 2 ms of 10.
    expect(room.restMs(2, REST_MS_MIN, nowMs)).toBeCloseTo(8, 6);
    room.began();
    room.began();
    expect(room.restMs(2, REST_MS_MIN, nowMs)).toBeCloseTo(18, 6);
    room.ended();
    expect(room.restMs(2, REST_MS_MIN, nowMs)).toBeCloseTo(8, 6);
    expect(room.restMs(1_000, REST_MS_MIN, nowMs)).toBe(REST_MS_MAX);
  });

  it('carries as many bytes as its part of the loop pays for, by what they cost lately', () => {
    const { room, run, nowMs } = loop();
    run(2_000, 0.65);
    for (let i = 0; i < 1_000; i++) room.carried(256 * 1024, 1);
    // 250 MB for a second of the loop, of which there is a fifth.
    expect(room.bytesPerSecond(nowMs) / (0.2 * 256_000 * 1024)).toBeCloseTo(1, 1);
    const before = room.bytesPerSecond(nowMs);
    for (let i = 0; i < 1_000; i++) room.carried(256 * 1024, 4);
    expect(before / room.bytesPerSecond(nowMs)).toBeCloseTo(4, 0);
    const dear = room.bytesPerSecond(nowMs);
    room.began();
    room.began();
    expect(room.bytesPerSecond(nowMs)).toBeCloseTo(dear / 2, 6);
  });

  it('moves on also where a clock does not move while it works', () => {
    const { room, nowMs } = loop();
    for (let i = 0; i < 100_000; i++) room.carried(1024 * 1024, 0);
    expect(Number.isFinite(room.bytesPerSecond(nowMs))).toBe(true);
    expect(room.bytesPerSecond(nowMs)).toBeGreaterThan(1e9);
  });
});
