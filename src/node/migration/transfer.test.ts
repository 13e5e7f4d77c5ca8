/**
 * Test plan: the source's half of a transfer against a clock moved by hand. What is asked for together is handed out one
 * chunk a turn of the event loop, whole and in order; a pin over or never made is named. Its room goes with the offer and
 * with every chunk, unless the copy is waited for.
 */
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { SLICE_MS_MAX } from '../../shard/limits.ts';
import { Copying } from '../copying.ts';
import type { ParticipantHost } from '../participant.ts';
import { TransferSource } from './transfer.ts';

const SHARD = 'count/1';
const STATE = Uint8Array.from({ length: 5 * 1024 * 1024 }, (_, i) => (i * 31) % 251);
const CHUNK_BYTES = 1024 * 1024;

/** A node with one primary, and a clock whose turns and timers come when the test says. */
function handMovedHost() {
  const turns: (() => void)[] = [];
  const rests: { delayMs: number; run: () => void }[] = [];
  const clock = {
    monotonicMs: () => 0,
    realtimeMs: () => 0,
    defer: (run: () => void) => turns.push(run),
    setTimer: (delayMs: number, run: () => void) => {
      const rest = { delayMs, run };
      rests.push(rest);
      return () => rests.splice(rests.indexOf(rest), 1);
    },
  };
  const copying = new Copying({ clock, loopBusyMs: () => 0, threadCpuMicros: () => 0 });
  let draining = false;
  const host = {
    self: { processId: 'n1.a' },
    io: { clock },
    copying,
    draining: () => draining,
    replica: (shard: string) =>
      shard === SHARD
        ? {
            role: 'primary',
            assignment: { shard, epoch: 1, primary: 'n1.a', standbys: [], cell: 'c', version: 1 },
            state: { snapshot: async () => ({ seq: 7, bytes: STATE }), recentQueries: () => [] },
          }
        : undefined,
  } as unknown as ParticipantHost;
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  return {
    host,
    copying,
    rests,
    drain() {
      draining = true;
    },
    /** One turn of the event loop. */
    async turn() {
      await settle();
      for (const run of turns.splice(0)) run();
      await settle();
    },
    /** Lets the work that rests between two slices go on. */
    async wake() {
      for (const rest of rests.filter(({ delayMs }) => delayMs === SLICE_MS_MAX)) {
        rests.splice(rests.indexOf(rest), 1);
        rest.run();
      }
      await settle();
    },
  };
}

async function begun(options: { drains?: boolean; giveWay?: boolean } = {}) {
  const world = handMovedHost();
  if (options.drains) world.drain();
  const source = new TransferSource(world.host);
  const offering = source.begin(SHARD, 'm1', options.giveWay);
  for (let i = 0; i < 10; i++) await world.wake();
  return { ...world, source, offer: await offering };
}

it('offers a snapshot with its checksum, resting between slices of the work', async () => {
  const { offer, source } = await begun();
  expect(offer).toMatchObject({ seq: 7, bytes: STATE.byteLength, crc32: crc32(STATE) });
  expect(source.pinnedBytes).toBe(STATE.byteLength);
  source.end(offer.transfer);
  expect(source.pinnedBytes).toBe(0);
});

it('hands out chunks asked for together one a turn, in order', async () => {
  const { turn, source, offer } = await begun();
  const came: number[] = [];
  const chunks = [0, 1, 2].map((i) =>
    source.chunk(offer.transfer, i * CHUNK_BYTES, CHUNK_BYTES).then((chunk) => {
      came.push(i);
      return chunk;
    }),
  );
  await turn();
  expect(came).toEqual([0]);
  await turn();
  expect(came).toEqual([0, 1]);
  await turn();
  expect(came).toEqual([0, 1, 2]);
  for (const [i, chunk] of (await Promise.all(chunks)).entries()) {
    expect(Buffer.compare(chunk.bytes, STATE.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES))).toBe(0);
    expect(chunk.crc32).toBe(crc32(chunk.bytes));
  }
});

it('refuses a chunk of no transfer and one beyond the end, and goes on with the others', async () => {
  const { turn, source, offer } = await begun();
  const outcomes = Promise.allSettled([
    source.chunk('n1.a-t99', 0, 10),
    source.chunk(offer.transfer, STATE.byteLength, 10),
    source.chunk(offer.transfer, -1, 10),
    source.chunk(offer.transfer, 0, CHUNK_BYTES * 2),
    source.chunk(offer.transfer, 0, 10),
  ]);
  for (let i = 0; i < 5; i++) await turn();
  expect((await outcomes).map((one) => (one.status === 'rejected' ? one.reason.code : 'ok'))).toEqual([
    'gap',
    'refused',
    'refused',
    'refused',
    'ok',
  ]);
});

it('says with the offer and every chunk what it has room for, for as long as the pin is there', async () => {
  const { turn, copying, source, offer } = await begun();
  expect(copying.room.copies).toBe(1);
  const alone = copying.room.bytesPerSecond(0);
  expect(offer.bytesPerSecond).toBe(alone);
  copying.room.began();
  const asked = source.chunk(offer.transfer, 0, CHUNK_BYTES);
  await turn();
  expect((await asked).bytesPerSecond).toBeCloseTo(alone / 2);
  source.end(offer.transfer);
  source.end(offer.transfer);
  expect(copying.room.copies).toBe(1);
});

it.each([
  ['of a node that is being emptied', { drains: true }],
  ['that need not give way', { giveWay: false }],
])('a copy %s is urgent and says nothing of room', async (_name, options) => {
  const { turn, source, offer } = await begun(options);
  expect(offer.urgent).toBe(true);
  expect(offer).not.toHaveProperty('bytesPerSecond');
  const asked = source.chunk(offer.transfer, 0, CHUNK_BYTES);
  await turn();
  expect(await asked).not.toHaveProperty('bytesPerSecond');
});

it('counts no copy that could not begin', async () => {
  const { host, copying } = handMovedHost();
  await expect(new TransferSource(host).begin('count/absent', 'm1')).rejects.toMatchObject({
    code: 'no-replica',
  });
  expect(copying.room.copies).toBe(0);
});
