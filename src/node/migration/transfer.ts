/**
 * The source's half of a transfer: pins a snapshot of durable state and hands it out in chunks.
 *
 * Boundary: it reads the replica and writes nothing. Invariants: a pinned snapshot never changes (a chunk asked for
 * twice is the same bytes); what is pinned is bounded in bytes and in time; one pin a shard and migration.
 */
import { crc32 } from 'node:zlib';
import type { ShardId } from '../../model/ids.ts';
import type { Slicer } from '../../shard/snapshot.ts';
import type { Copy } from '../copying.ts';
import type { ParticipantHost } from '../participant.ts';
import type { NodeCalls, RecentQuery, TransferOffer } from '../protocol.ts';
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
/** After so many, the answer of a call has been sent. */
const ANSWER_MICROTASKS = 5;

interface Pin {
  shard: ShardId;
  migration: string;
  bytes: Uint8Array;
  copy: Copy;
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

  /** `giveWay` false: at full speed, whoever waits. So it is too while this node is being emptied. */
  async begin(shard: ShardId, migration: string, giveWay = true): Promise<TransferOffer> {
    const urgent = !giveWay || this.#host.draining?.() === true;
    const copy = this.#host.copying.begin({ way: 'out', urgent });
    try {
      const { bytes, ...offer } = await this.#snapshot(shard, copy);
      if (urgent) offer.urgent = true;
      if (bytes.byteLength <= INLINE_BYTES_MAX) {
        copy.end();
        return { ...offer, bytes: bytes.byteLength, inline: bytes };
      }
      this.endAll(shard, migration);
      if (this.#pinnedBytes + bytes.byteLength > PINNED_BYTES_MAX)
        throw new Refusal('refused', `${PINNED_BYTES_MAX} bytes are already pinned for transfers; try later`);
      const transfer = `${this.#host.self.processId}-t${++this.#counter}`;
      this.#pins.set(transfer, { shard, migration, bytes, copy, forget: () => {} });
      this.#pinnedBytes += bytes.byteLength;
      this.#keep(transfer);
      return { ...offer, transfer, bytes: bytes.byteLength, ...roomOf(copy) };
    } catch (error) {
      copy.end();
      throw error;
    }
  }

  async #snapshot(shard: ShardId, copy: Copy): Promise<Omit<TransferOffer, 'bytes'> & { bytes: Uint8Array }> {
    const replica = this.#host.replica(shard);
    if (!replica) throw new Refusal('no-replica', `${shard} is not on ${this.#host.self.processId}`);
    if (replica.role !== 'primary')
      throw new Refusal('not-primary', `${shard} is ${replica.role} here; ask its primary for a snapshot`);
    const slicer = copy.slicer();
    // Only durable state leaves (OWNERSHIP rule 7): the contract of snapshot() is never to go beyond durableSeq.
    const { seq, bytes } = await replica.state.snapshot(slicer);
    const { assignment } = replica;
    const crc32 = await checksum(bytes, slicer);
    slicer.end();
    const queries = replica.state.recentQueries(RECENT_QUERIES_MAX);
    const small = sizeOf(queries) <= OFFER_QUERIES_BYTES_MAX;
    const offer = { transfer: '', epoch: assignment.epoch, seq, bytes, crc32, assignment };
    return small ? { ...offer, recentQueries: queries } : offer;
  }

  /** One chunk a turn of the event loop: sixteen asked for together would keep the node's users waiting 20 ms. */
  async chunk(transfer: string, offset: number, bytes: number): Promise<NodeCalls['transfer.chunk'][1]> {
    const { clock } = this.#host.io;
    this.#turn = this.#turn.then(() => new Promise((resolve) => clock.defer(resolve)));
    await this.#turn;
    const pin = this.#pins.get(transfer);
    if (!pin) throw new Refusal('gap', `the transfer ${transfer} is over; begin again`);
    if (!(offset >= 0 && bytes > 0 && bytes <= CHUNK_BYTES_MAX && offset < pin.bytes.byteLength))
      throw new Refusal('refused', `no chunk of ${bytes} bytes at ${offset} in ${pin.bytes.byteLength}`);
    this.#keep(transfer);
    const slice = pin.bytes.subarray(offset, offset + bytes);
    void this.#count(pin.copy, slice.byteLength);
    return { bytes: slice, crc32: crc32(slice), ...roomOf(pin.copy) };
  }

  /** The answer is packed and handed to the socket right after `chunk`, in the same turn: most of what a chunk costs. */
  async #count(copy: Copy, bytes: number): Promise<void> {
    const carried = copy.carrying();
    for (let i = 0; i < ANSWER_MICROTASKS; i++) await undefined;
    carried(bytes);
  }

  /** Idempotent. */
  end(transfer: string): void {
    const pin = this.#pins.get(transfer);
    if (!pin) return;
    pin.forget();
    pin.copy.end(pin.bytes.byteLength);
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

/** What the target is told; nothing where this node need not give way. */
function roomOf(copy: Copy): { bytesPerSecond?: number } {
  const bytesPerSecond = copy.bytesPerSecond();
  return Number.isFinite(bytesPerSecond) ? { bytesPerSecond } : {};
}

function sizeOf(queries: RecentQuery[]): number {
  let bytes = 0;
  for (const query of queries) bytes += query.input.byteLength + query.body.byteLength + 100;
  return bytes;
}
