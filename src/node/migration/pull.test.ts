/**
 * Test plan: the target's half of a transfer on virtual time, against a source that answers at once and says what the test
 * wants of its room. The pull takes as long as the least of both rooms and the order allow; a source that says nothing, as
 * older builds do, leaves the other two.
 */
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { Copying } from '../copying.ts';
import type { ParticipantHost } from '../participant.ts';
import type { TransferOffer } from '../protocol.ts';
import { pullSnapshot } from './pull.ts';

const MB = 1e6;
const STATE = Uint8Array.from({ length: 8 * MB }, (_, i) => (i * 31) % 251);
const ORDERED = 64 * MB;

/** Pulls the whole state; what the source says may change with time. */
async function pulled(options: {
  source: (nowMs: number) => number | undefined;
  requestShare?: number;
  urgent?: boolean;
}): Promise<{ tookMs: number; copies: number }> {
  let nowMs = 0;
  const timers: { atMs: number; fire: () => void }[] = [];
  const clock = {
    monotonicMs: () => nowMs,
    realtimeMs: () => nowMs,
    defer: (run: () => void) => void timers.push({ atMs: nowMs, fire: run }),
    setTimer: (delayMs: number, fire: () => void) => {
      timers.push({ atMs: nowMs + delayMs, fire });
      return () => {};
    },
  };
  let busyMs = 0;
  const copying = new Copying({ clock, loopBusyMs: () => busyMs, threadCpuMicros: () => 0 });
  for (; nowMs <= 2_000; nowMs += 50) {
    busyMs = nowMs * (options.requestShare ?? 0);
    copying.look();
  }
  const call = async (method: string, payload: { offset: number; bytes: number }) => {
    if (method !== 'transfer.chunk') return {};
    const bytes = STATE.subarray(payload.offset, payload.offset + payload.bytes);
    const bytesPerSecond = options.source(nowMs - startMs);
    return { bytes, crc32: crc32(bytes), ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) };
  };
  const host = { io: { clock }, copying, peer: () => ({ call }) } as unknown as ParticipantHost;
  const startMs = nowMs;
  const room = options.source(0);
  const offer = {
    transfer: 't1',
    bytes: STATE.byteLength,
    crc32: crc32(STATE),
    assignment: { shard: 'count/1' },
    ...(room === undefined ? {} : { bytesPerSecond: room }),
  } as TransferOffer;
  const copy = copying.begin({ way: 'in', urgent: options.urgent === true });
  let done = false;
  const pulling = pullSnapshot(host, 'source', offer, copy, {
    bytesPerSecond: ORDERED,
    onProgress: () => {},
    stopped: () => false,
  }).finally(() => {
    done = true;
  });
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    if (done) break;
    timers.sort((a, b) => a.atMs - b.atMs);
    const next = timers.shift();
    if (next === undefined) throw new Error('the pull waits for nothing');
    nowMs = Math.max(nowMs, next.atMs);
    next.fire();
  }
  expect(Buffer.compare(await pulling, STATE)).toBe(0);
  copy.end();
  return { tookMs: nowMs - startMs, copies: copying.room.copies };
}

const orderedMs = (STATE.byteLength / ORDERED) * 1_000;

it('goes as ordered where there is room at both ends, or where the source does not say', async () => {
  for (const source of [() => 500 * MB, () => undefined]) {
    const { tookMs, copies } = await pulled({ source });
    expect(tookMs).toBeLessThan(orderedMs + 50);
    expect(copies).toBe(0);
  }
});

it('goes as the source says, and faster as soon as it says so', async () => {
  const slow = await pulled({ source: () => 2 * MB });
  expect(slow.tookMs).toBeGreaterThan(3_500);
  expect(slow.tookMs).toBeLessThan(4_500);
  const relieved = await pulled({ source: (ms) => (ms < 1_000 ? 2 * MB : undefined) });
  expect(relieved.tookMs).toBeGreaterThan(950);
  expect(relieved.tookMs).toBeLessThan(1_500);
});

it('goes as its own requests leave room, unless the copy is urgent', async () => {
  // 2 % of the loop, with a second of which 256 MB are carried.
  const busy = await pulled({ source: () => undefined, requestShare: 0.84 });
  expect(busy.tookMs).toBeGreaterThan(2 * orderedMs);
  const urgent = await pulled({ source: () => undefined, requestShare: 0.84, urgent: true });
  expect(urgent.tookMs).toBeLessThan(orderedMs + 50);
});
