/**
 * The target's half of a transfer: pulls a pinned snapshot in chunks, several in flight, at most so many bytes a
 * second, each checked by its CRC and the whole by another. A broken connection costs the chunks on it, no more: the
 * rest is kept and the pull goes on at the same offsets.
 */
import { crc32 } from 'node:zlib';
import { sleep } from '../../io/io.ts';
import { unhurried } from '../../shard/snapshot.ts';
import type { ParticipantHost } from '../participant.ts';
import type { TransferOffer } from '../protocol.ts';
import { codeOf, Refusal } from './refusal.ts';
import { checksum } from './transfer.ts';

const CHUNK_BYTES = 256 * 1024;
/** 4 MB on the way: 20 MB/s over a round trip of 200 ms. */
const CHUNKS_IN_FLIGHT_MAX = 16;
const CHUNK_ATTEMPTS_MAX = 8;
const RETRY_DELAY_MS = 50;
const CHUNK_TIMEOUT_MS = 5_000;

/** @throws Refusal `gap` when the source forgot the pin (begin again), `bad-checksum` when the bytes are not its. */
export async function pullSnapshot(
  host: ParticipantHost,
  address: string,
  offer: TransferOffer,
  options: { bytesPerSecond: number; onProgress: (bytes: number) => void; stopped: () => boolean },
): Promise<Uint8Array> {
  const { clock } = host.io;
  if (offer.inline) {
    await verify(host, offer.inline, offer);
    options.onProgress(offer.bytes);
    return offer.inline;
  }
  const whole = new Uint8Array(offer.bytes);
  const startedMs = clock.monotonicMs();
  let nextOffset = 0;
  let askedBytes = 0;
  let doneBytes = 0;
  const worker = async () => {
    while (nextOffset < offer.bytes) {
      if (options.stopped()) throw new Refusal('refused', 'the transfer was called off');
      const offset = nextOffset;
      const bytes = Math.min(CHUNK_BYTES, offer.bytes - offset);
      nextOffset += bytes;
      // A chunk leaves when the rate has room for all before it.
      const dueMs = startedMs + (askedBytes / options.bytesPerSecond) * 1000;
      askedBytes += bytes;
      const waitMs = dueMs - clock.monotonicMs();
      if (waitMs > 1) await sleep(clock, waitMs);
      whole.set(await pullChunk(host, address, offer.transfer, offset, bytes), offset);
      doneBytes += bytes;
      options.onProgress(doneBytes);
    }
  };
  await Promise.all(Array.from({ length: CHUNKS_IN_FLIGHT_MAX }, worker));
  await verify(host, whole, offer);
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
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    try {
      const chunk = await host
        .peer(address)
        .call('transfer.chunk', { transfer, offset, bytes }, { timeoutMs: CHUNK_TIMEOUT_MS });
      if (chunk.bytes.byteLength !== bytes || crc32(chunk.bytes) !== chunk.crc32)
        throw new Refusal('bad-checksum', `the chunk at ${offset} of ${transfer} came damaged`);
      return chunk.bytes;
    } catch (error) {
      const code = codeOf(error);
      if ((code !== 'unavailable' && code !== 'bad-checksum') || attempt >= CHUNK_ATTEMPTS_MAX) throw error;
      await sleep(host.io.clock, RETRY_DELAY_MS * 2 ** Math.min(attempt, 5));
    }
  }
}

async function verify(host: ParticipantHost, bytes: Uint8Array, offer: TransferOffer): Promise<void> {
  const got = await checksum(bytes, unhurried(host.io.clock));
  if (bytes.byteLength !== offer.bytes || got !== offer.crc32)
    throw new Refusal('bad-checksum', `the snapshot of ${offer.assignment.shard} came damaged`);
}
