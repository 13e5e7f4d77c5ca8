/**
 * The target's half of a transfer: pulls a pinned snapshot in chunks, several in flight, as fast as ordered and as both
 * ends have room for, each checked by its CRC and the whole by another. A broken connection costs the chunks on it, no more: the
 * rest is kept and the pull goes on at the same offsets.
 */
import { crc32 } from 'node:zlib';
import { sleep } from '../../io/io.ts';
import type { Copy } from '../copying.ts';
import type { ParticipantHost } from '../participant.ts';
import type { NodeCalls, TransferOffer } from '../protocol.ts';
import { PullPace } from './pull-pace.ts';
import { codeOf, Refusal } from './refusal.ts';
import { checksum } from './transfer.ts';

const CHUNK_BYTES = 256 * 1024;
/** 4 MB on the way: 20 MB/s over a round trip of 200 ms. */
const CHUNKS_IN_FLIGHT_MAX = 16;
const CHUNK_ATTEMPTS_MAX = 8;
const RETRY_DELAY_MS = 50;
const CHUNK_TIMEOUT_MS = 5_000;
/** While a chunk waits: room may have come meanwhile. */
const LOOK_AGAIN_MS = 100;
/** A chunk costs the loop about so many times what checking it does: 256 KB take 0.25 ms to read, join and check, 0.03 to check. */
const RECEIVE_FACTOR = 8;

/**
 * @param copy this node's part: how fast it may go, and what it costs
 * @throws Refusal `gap` when the source forgot the pin (begin again), `bad-checksum` when the bytes are not its.
 */
export async function pullSnapshot(
  host: ParticipantHost,
  address: string,
  offer: TransferOffer,
  copy: Copy,
  options: { bytesPerSecond: number; onProgress: (bytes: number) => void; stopped: () => boolean },
): Promise<Uint8Array> {
  const { clock } = host.io;
  if (offer.inline) {
    await verify(offer.inline, offer, copy);
    options.onProgress(offer.bytes);
    return offer.inline;
  }
  const whole = new Uint8Array(offer.bytes);
  const pace = new PullPace(options.bytesPerSecond, clock.monotonicMs());
  let sourceBytesPerSecond = offer.bytesPerSecond;
  let nextOffset = 0;
  let doneBytes = 0;
  /** One chunk after the other waits until there is room for it. */
  let gate = Promise.resolve();
  const leave = async (bytes: number) => {
    for (;;) {
      if (options.stopped()) throw new Refusal('refused', 'the transfer was called off');
      const waitMs = pace.waitMs(copy.bytesPerSecond(), sourceBytesPerSecond, clock.monotonicMs());
      if (waitMs <= 1) break;
      await sleep(clock, Math.min(waitMs, LOOK_AGAIN_MS));
    }
    pace.left(bytes, clock.monotonicMs());
  };
  const worker = async () => {
    while (nextOffset < offer.bytes) {
      const offset = nextOffset;
      const bytes = Math.min(CHUNK_BYTES, offer.bytes - offset);
      nextOffset += bytes;
      gate = gate.then(() => leave(bytes));
      await gate;
      const chunk = await pullChunk(host, address, offer.transfer, offset, bytes, copy);
      sourceBytesPerSecond = chunk.bytesPerSecond;
      whole.set(chunk.bytes, offset);
      doneBytes += bytes;
      options.onProgress(doneBytes);
    }
  };
  await Promise.all(Array.from({ length: CHUNKS_IN_FLIGHT_MAX }, worker));
  await verify(whole, offer, copy);
  // Courtesy only: the source forgets the pin by itself.
  host
    .peer(address)
    .call('transfer.end', { transfer: offer.transfer })
    .catch(() => {});
  return whole;
}

async function pullChunk(
  host: ParticipantHost,
  address: string,
  transfer: string,
  offset: number,
  bytes: number,
  copy: Copy,
): Promise<NodeCalls['transfer.chunk'][1]> {
  for (let attempt = 1; ; attempt++) {
    try {
      const chunk = await host
        .peer(address)
        .call('transfer.chunk', { transfer, offset, bytes }, { timeoutMs: CHUNK_TIMEOUT_MS });
      const carried = copy.carrying();
      const damaged = chunk.bytes.byteLength !== bytes || crc32(chunk.bytes) !== chunk.crc32;
      carried(bytes, RECEIVE_FACTOR);
      if (damaged) throw new Refusal('bad-checksum', `the chunk at ${offset} of ${transfer} came damaged`);
      return chunk;
    } catch (error) {
      const code = codeOf(error);
      if ((code !== 'unavailable' && code !== 'bad-checksum') || attempt >= CHUNK_ATTEMPTS_MAX) throw error;
      await sleep(host.io.clock, RETRY_DELAY_MS * 2 ** Math.min(attempt, 5));
    }
  }
}

async function verify(bytes: Uint8Array, offer: TransferOffer, copy: Copy): Promise<void> {
  const slicer = copy.slicer();
  const got = await checksum(bytes, slicer);
  slicer.end();
  if (bytes.byteLength !== offer.bytes || got !== offer.crc32)
    throw new Refusal('bad-checksum', `the snapshot of ${offer.assignment.shard} came damaged`);
}
