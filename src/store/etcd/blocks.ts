/**
 * A block: consecutive log entries of one shard in one value, as they were appended together. Its key names its last
 * seq, so a count is all it needs to know its first. A delta too large for a block stands in chunks of its own and is
 * referred to.
 *
 *   block  u32 count, then the entries
 *   entry  u16 length of the id (highest bit: the bytes are a reference), id, u32 length, bytes
 */
import type { Seq } from '../../model/ids.ts';
import { StoreError } from '../store.ts';

/** Where something too large for one request stands, and how to know it again. */
export interface ChunkReference {
  name: string;
  chunks: number;
  bytes: number;
  crc32: number;
}

export interface BlockEntry {
  id: string;
  /** The delta, or a reference to its chunks. */
  content: Uint8Array | ChunkReference;
}

const REFERENCE_BIT = 0x8000;
/** What an entry takes in a block beside its delta. */
export const ENTRY_BYTES = 6;

export function encodeBlock(entries: readonly BlockEntry[]): Buffer {
  const contents = entries.map(({ content }) =>
    content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content)),
  );
  let bytes = 4;
  for (let i = 0; i < entries.length; i++)
    bytes += ENTRY_BYTES + Buffer.byteLength(entries[i]!.id) + contents[i]!.byteLength;
  const block = Buffer.allocUnsafe(bytes);
  let at = block.writeUInt32BE(entries.length, 0);
  for (let i = 0; i < entries.length; i++) {
    const { id, content } = entries[i]!;
    const idBytes = block.write(id, at + 2);
    block.writeUInt16BE(idBytes | (content instanceof Uint8Array ? 0 : REFERENCE_BIT), at);
    at = block.writeUInt32BE(contents[i]!.byteLength, at + 2 + idBytes);
    block.set(contents[i]!, at);
    at += contents[i]!.byteLength;
  }
  return block;
}

/** @throws StoreError `unavailable` where the bytes are no block: damage, or keys of something else. */
export function decodeBlock(block: Buffer, lastSeq: Seq): (BlockEntry & { seq: Seq })[] {
  try {
    const count = block.readUInt32BE(0);
    if (count < 1 || count > lastSeq) throw new RangeError(`it counts ${count} entries`);
    const entries: (BlockEntry & { seq: Seq })[] = [];
    let at = 4;
    for (let i = 0; i < count; i++) {
      const lengthAndBit = block.readUInt16BE(at);
      const idBytes = lengthAndBit & ~REFERENCE_BIT;
      const id = block.toString('utf8', at + 2, at + 2 + idBytes);
      at += 2 + idBytes;
      const length = block.readUInt32BE(at);
      at += 4;
      if (at + length > block.length) throw new RangeError('it ends early');
      const bytes = block.subarray(at, at + length);
      at += length;
      const content =
        lengthAndBit & REFERENCE_BIT ? (JSON.parse(bytes.toString('utf8')) as ChunkReference) : bytes;
      entries.push({ seq: lastSeq - count + 1 + i, id, content });
    }
    return entries;
  } catch (cause) {
    throw new StoreError(
      'unavailable',
      `the block of log entries at ${lastSeq} is damaged: ${String(cause)}`,
      {
        cause,
      },
    );
  }
}
