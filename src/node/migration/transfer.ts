/**
 * The source's half of a transfer: pins a snapshot of durable state and hands it out in chunks.
 *
 * Boundary: it reads the replica and writes nothing. Invariants: a pinned snapshot never changes (a chunk asked for
 * twice is the same bytes); what is pinned is bounded in bytes and in time; one pin a shard and migration.
 */
import { crc32 } from 'node:zlib';
import type { ShardId } from '../../model/ids.ts';
import { type Slicer, unhurried } from '../../shard/snapshot.ts';
import type { ParticipantHost } from '../participant.ts';
import type { RecentQuery, TransferOffer } from '../protocol.ts';
import { Refusal } from './refusal.ts';

/** Snapshots up to this size travel inside the offer. */
export const INLINE_BYTES_MAX = 64 * 1024;
/** Recent queries travel inside the offer up to this size. */
const OFFER_QUERIES_BYTES_MAX = 32 * 1024;
export const RECENT_QUERIES_MAX = 32;
/** All pinned snapshots of a node together. */
export const PINNED_BYTES_MAX = 512 * 1024 * 1024;
/** A pin nobody asked for in this time is forgotten; the target begins again. */
const PIN_IDLE_MS_MAX = 60_000;
export const CHUNK_BYTES_MAX = 1024 * 1024;
/** Checksums are computed in slices: 2 MB take about 1 ms. */
const CHECKSUM_SLICE_BYTES = 2 * 1024 * 1024;

interface Pin {
  shard: ShardId;
  migration: string;
  bytes: Uint8Array;
  forget: () => void;
}

export class TransferSource {
  readonly #host: ParticipantHost;
  readonly #pins = new Map<string, Pin>();
  /** The chunk asked for last; the next one waits for its turn. */
  #turn: Promise<void> = Promise.resolve();
  #pinnedBytes = 0;
  #counter = 0;

  constructor(host: ParticipantHost) {
    this.#host = host;
  }

  /** Bytes held for targets that are still pulling. */
  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  async begin(shard: ShardId, migration: string): Promise<TransferOffer> {
    const replica = this.#host.replica(shard);
    if (!replica) throw new Refusal('no-replica', `${shard} is not on ${this.#host.self.processId}`);
    if (replica.role !== 'primary')
      throw new Refusal('not-primary', `${shard} is ${replica.role} here; ask its primary for a snapshot`);
    // Only durable state leaves (OWNERSHIP rule 7): the contract of snapshot() is never to go beyond durableSeq.
    const { seq, bytes } = await replica.state.snapshot();
    const { assignment } = replica;
    const offer: TransferOffer = {
      transfer: '',
      epoch: assignment.epoch,
      seq,
      bytes: bytes.byteLength,
      crc32: await checksum(bytes, unhurried(this.#host.io.clock)),
      assignment,
    };
    const queries = replica.state.recentQueries(RECENT_QUERIES_MAX);
    if (sizeOf(queries) <= OFFER_QUERIES_BYTES_MAX) offer.recentQueries = queries;
    if (bytes.byteLength <= INLINE_BYTES_MAX) return { ...offer, inline: bytes };
    this.endAll(shard, migration);
    if (this.#pinnedBytes + bytes.byteLength > PINNED_BYTES_MAX)
      throw new Refusal('refused', `${PINNED_BYTES_MAX} bytes are already pinned for transfers; try later`);
    offer.transfer = `${this.#host.self.processId}-t${++this.#counter}`;
    this.#pins.set(offer.transfer, { shard, migration, bytes, forget: () => {} });
    this.#pinnedBytes += bytes.byteLength;
    this.#keep(offer.transfer);
    return offer;
  }

  /** One chunk a turn of the event loop: sixteen asked for together would keep the node's users waiting 20 ms. */
  async chunk(
    transfer: string,
    offset: number,
    bytes: number,
  ): Promise<{ bytes: Uint8Array; crc32: number }> {
    this.#turn = this.#turn.then(() => new Promise((resolve) => this.#host.io.clock.defer(resolve)));
    await this.#turn;
    const pin = this.#pins.get(transfer);
    if (!pin) throw new Refusal('gap', `the transfer ${transfer} is over; begin again`);
    if (!(offset >= 0 && bytes > 0 && bytes <= CHUNK_BYTES_MAX && offset < pin.bytes.byteLength))
      throw new Refusal('refused', `no chunk of ${bytes} bytes at ${offset} in ${pin.bytes.byteLength}`);
    this.#keep(transfer);
    const slice = pin.bytes.subarray(offset, offset + bytes);
    return { bytes: slice, crc32: crc32(slice) };
  }

  /** Idempotent. */
  end(transfer: string): void {
    const pin = this.#pins.get(transfer);
    if (!pin) return;
    pin.forget();
    this.#pins.delete(transfer);
    this.#pinnedBytes -= pin.bytes.byteLength;
  }

  /** Forgets every pin of a shard's migration. */
  endAll(shard: ShardId, migration: string): void {
    for (const [transfer, pin] of this.#pins)
      if (pin.shard === shard && pin.migration === migration) this.end(transfer);
  }

  #keep(transfer: string): void {
    const pin = this.#pins.get(transfer)!;
    pin.forget();
    pin.forget = this.#host.io.clock.setTimer(PIN_IDLE_MS_MAX, () => this.end(transfer));
  }
}

/** CRC-32 of the whole, in slices. */
export async function checksum(bytes: Uint8Array, slicer: Pick<Slicer, 'defer'>): Promise<number> {
  let value = 0;
  for (let offset = 0; offset < bytes.byteLength || offset === 0; offset += CHECKSUM_SLICE_BYTES) {
    if (offset > 0) await new Promise<void>((resolve) => slicer.defer(resolve));
    value = crc32(bytes.subarray(offset, offset + CHECKSUM_SLICE_BYTES), value);
  }
  return value;
}

function sizeOf(queries: RecentQuery[]): number {
  let bytes = 0;
  for (const query of queries) bytes += query.input.byteLength + query.body.byteLength + 100;
  return bytes;
}
