/**
 * Snapshots on their way in: pieces gather in a buffer of the announced size until the whole is claimed.
 *
 * Bounded in bytes; what nobody touches for a while makes room. Nothing here is durable or visible to readers.
 */
import { crc32 } from 'node:zlib';
import { SNAPSHOT_BYTES_MAX } from './limits.ts';
import { StoreError } from './store.ts';

export const STAGED_BYTES_MAX = 256 * 1024 * 1024;
const ABANDONED_AFTER_MS = 30_000;

interface Upload {
  buffer: Buffer;
  /** Pieces come in order: the next one begins here. */
  filledBytes: number;
  /** Of what is there: worked out as it comes, since 64 MB at once would keep everybody waiting. */
  crc32: number;
  touchedMs: number;
}

export class Staging {
  readonly #now: () => number;
  readonly #uploads = new Map<string, Upload>();
  #bytes = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  get stagedBytes(): number {
    return this.#bytes;
  }

  /** @throws StoreError `too-large`, `invalid` for a piece out of place, `unavailable` where there is no room. */
  add(id: string, totalBytes: number, offset: number, bytes: Uint8Array): void {
    if (!Number.isSafeInteger(totalBytes) || totalBytes < 0 || totalBytes > SNAPSHOT_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `a snapshot of ${totalBytes} bytes, over the limit of ${SNAPSHOT_BYTES_MAX}`,
      );
    }
    let upload = this.#uploads.get(id);
    if (!upload || offset === 0) {
      if (upload) this.#drop(id, upload);
      this.#makeRoom(totalBytes);
      upload = { buffer: Buffer.allocUnsafe(totalBytes), filledBytes: 0, crc32: 0, touchedMs: 0 };
      this.#uploads.set(id, upload);
      this.#bytes += totalBytes;
    }
    upload.touchedMs = this.#now();
    if (offset !== upload.filledBytes || offset + bytes.byteLength > upload.buffer.byteLength) {
      this.#drop(id, upload);
      throw new StoreError('invalid', `a piece at ${offset} of a snapshot that is at ${upload.filledBytes}`);
    }
    upload.buffer.set(bytes, offset);
    upload.filledBytes += bytes.byteLength;
    upload.crc32 = crc32(bytes, upload.crc32);
  }

  /** The whole, once. @throws StoreError `unavailable` where a piece is missing or the checksum is wrong. */
  take(id: string, checksum: number): Uint8Array {
    const upload = this.#uploads.get(id);
    if (!upload) throw new StoreError('unavailable', 'the pieces of this snapshot are gone; send it again');
    this.#drop(id, upload);
    if (upload.filledBytes !== upload.buffer.byteLength)
      throw new StoreError('unavailable', 'pieces of this snapshot are missing; send it again');
    checkSame(upload.crc32, checksum);
    return upload.buffer;
  }

  #makeRoom(bytes: number): void {
    if (this.#bytes + bytes <= STAGED_BYTES_MAX) return;
    const beforeMs = this.#now() - ABANDONED_AFTER_MS;
    for (const [id, upload] of this.#uploads) if (upload.touchedMs < beforeMs) this.#drop(id, upload);
    if (this.#bytes + bytes > STAGED_BYTES_MAX)
      throw new StoreError('unavailable', 'too many large snapshots are on their way in; try again later');
  }

  #drop(id: string, upload: Upload): void {
    this.#uploads.delete(id);
    this.#bytes -= upload.buffer.byteLength;
  }
}

/** @throws StoreError `unavailable` where the bytes are not those that were sent or stored. */
export function checkCrc32(bytes: Uint8Array, expected: number): void {
  checkSame(crc32(bytes), expected);
}

function checkSame(actual: number, expected: number): void {
  if (actual !== expected)
    throw new StoreError(
      'unavailable',
      `the snapshot's checksum is ${actual}, not ${expected}: it was damaged`,
    );
}
