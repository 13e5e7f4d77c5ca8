import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bucketOf,
  decodeKey,
  encodeKey,
  isHandlerName,
  isServiceName,
  KEY_BYTES_MAX,
  parseShardId,
  rendezvous,
  shardId,
} from './ids.ts';

describe('keys', () => {
  it('have one canonical encoding that decodes to the same key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), (key) => {
        fc.pre(key !== '.' && key !== '..' && key.isWellFormed());
        const encoded = encodeKey(key);
        expect(encoded).toMatch(/^(?:[A-Za-z0-9\-._~]|%[0-9A-F]{2})+$/);
        expect(decodeKey(encoded)).toBe(key);
        expect(encodeKey(decodeKey(encoded))).toBe(encoded);
      }),
    );
  });

  it.each(['', '.', '..', '\ud800', 'x'.repeat(KEY_BYTES_MAX + 1)])('refuse %j', (key) => {
    expect(() => encodeKey(key)).toThrow(RangeError);
  });

  it('escape what encodeURIComponent leaves', () => {
    expect(encodeKey("a!'()*b")).toBe('a%21%27%28%29%2Ab');
  });

  it.each(['%', '%zz', '%ff'])('that are not percent-encoded UTF-8 are refused: %s', (encoded) => {
    expect(() => decodeKey(encoded)).toThrow(RangeError);
  });
});

describe('shard ids', () => {
  it('parse back', () => {
    expect(parseShardId(shardId('cart', 'a/b c'))).toEqual({ service: 'cart', key: 'a/b c' });
  });

  it.each(['cart', '/k', 'cart/', 'cart/a b', 'cart/%61', 'v1/x', 'Cart/x'])('refuse %j', (id) => {
    expect(() => parseShardId(id)).toThrow(RangeError);
  });

  it('spread over the buckets', () => {
    const buckets = new Set(Array.from({ length: 20_000 }, (_, i) => bucketOf(shardId('counter', `k${i}`))));
    expect(buckets.size).toBeGreaterThan(3_900);
  });
});

it('reserved service and handler names are refused', () => {
  for (const name of ['v1', 'metrics', 'healthz', 'readyz', '', 'A', '1a', 'a_b'])
    expect(isServiceName(name)).toBe(false);
  for (const name of ['then', 'constructor', '__proto__', '', '1a', 'a b'])
    expect(isHandlerName(name)).toBe(false);
});

describe('rendezvous', () => {
  const nodes = ['a', 'b', 'c', 'd', 'e'];
  const shards = Array.from({ length: 2_000 }, (_, i) => `s/${i}`);

  it('balances and does not depend on the order of nodes', () => {
    const counts = new Map<string, number>();
    for (const shard of shards) {
      const node = rendezvous(shard, nodes, (n) => n)!;
      expect(rendezvous(shard, [...nodes].reverse(), (n) => n)).toBe(node);
      counts.set(node, (counts.get(node) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(Math.abs(count - 400)).toBeLessThan(100);
  });

  it('moves only the shards of a node that leaves', () => {
    for (const shard of shards) {
      const before = rendezvous(shard, nodes, (n) => n);
      const after = rendezvous(
        shard,
        nodes.filter((n) => n !== 'c'),
        (n) => n,
      );
      if (before !== 'c') expect(after).toBe(before);
    }
  });
});
