import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  COMPRESS_BYTES_MIN,
  type DeltaSection,
  decodeBatch,
  encodeBatch,
  ZSTD_BYTES_MIN,
} from './delta-batch.ts';

const section = fc
  .record({
    shard: fc.string({ minLength: 1, maxLength: 40 }),
    epoch: fc.nat(),
    firstSeq: fc.integer({ min: 1, max: 2 ** 40 }),
    ahead: fc.nat(100),
    deltas: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }),
  })
  .map(
    ({ shard, epoch, firstSeq, ahead, deltas }): DeltaSection => ({
      shard,
      epoch,
      durableSeq: firstSeq + deltas.length + ahead,
      entries: deltas.map((delta, index) => ({ seq: firstSeq + index, id: '', delta })),
    }),
  );

const plain = (sections: DeltaSection[]) =>
  sections.map((one) => ({
    ...one,
    entries: one.entries.map(({ seq, id, delta }) => ({ seq, id, delta: [...delta] })),
  }));

it('gives back what was put in', () => {
  fc.assert(
    fc.property(fc.array(section, { maxLength: 6 }), (sections) => {
      expect(plain(decodeBatch(encodeBatch(sections)))).toEqual(plain(sections));
    }),
  );
});

it.each([
  ['a short one as it is', COMPRESS_BYTES_MIN / 8, 0],
  ['a longer one by deflate', COMPRESS_BYTES_MIN * 2, 1],
  ['a large one by zstd', ZSTD_BYTES_MIN * 2, 2],
])('packs %s', (_name, bytes, kind) => {
  const delta = new Uint8Array(bytes).fill(7);
  const batch = encodeBatch([
    { shard: 'room/a', epoch: 1, durableSeq: 1, entries: [{ seq: 1, id: 'x', delta }] },
  ]);
  expect(batch[0]).toBe(kind);
  if (kind > 0) expect(batch.byteLength).toBeLessThan(bytes / 4);
});

it('never makes noise larger', () => {
  let state = 1;
  const delta = Uint8Array.from({ length: 5_000 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state >> 16;
  });
  const batch = encodeBatch([
    { shard: 'room/a', epoch: 1, durableSeq: 1, entries: [{ seq: 1, id: '', delta }] },
  ]);
  expect(batch.byteLength).toBeLessThan(5_050);
});

it('refuses whatever else it is given, by a TypeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeBatch(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
      }
    }),
  );
  const good = encodeBatch([{ shard: 'a/b', epoch: 1, durableSeq: 9, entries: [] }]);
  expect(() => decodeBatch(good.subarray(0, good.length - 1))).toThrow(TypeError);
  expect(() => decodeBatch(new Uint8Array())).toThrow(TypeError);
});
