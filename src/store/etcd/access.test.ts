import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatEtcdAddress, isEtcdAddress, parseEtcdAddress } from './access.ts';
import { decodeBlock, encodeBlock } from './blocks.ts';
import { decodeValue, encodeValue } from './control-store.ts';
import { digits, endOfPrefix, numberOf } from './keys.ts';
import { parseStores } from './stores.ts';

describe('an address of etcd', () => {
  it('names endpoints, TLS and the root of keys', () => {
    expect(parseEtcdAddress('etcd://a,b:1234')).toEqual({
      endpoints: ['a:2379', 'b:1234'],
      tls: false,
      root: 'skein',
    });
    expect(parseEtcdAddress('etcds://[::1]:2379/prod/eu/')).toEqual({
      endpoints: ['[::1]:2379'],
      tls: true,
      root: 'prod/eu',
    });
  });

  it('is told from one of a store process', () => {
    expect(isEtcdAddress('127.0.0.1:20001')).toBe(false);
    expect(isEtcdAddress('etcds://h')).toBe(true);
  });

  it('is written as it is read', () => {
    const address = 'etcds://a:1,b:2/root';
    expect(formatEtcdAddress(parseEtcdAddress(address))).toBe(address);
  });

  it.each([
    'etcd://',
    'etcd://a:0',
    'etcd://a:99999',
    'etcd://a,a',
    'etcd://a b',
    'etcd://a/r?x=1',
    'http://a',
    'etcd://a/\u0000',
  ])('is refused where it makes no sense: %s', (text) => {
    expect(() => parseEtcdAddress(text)).toThrow(/not an address of etcd.*write etcd:\/\//);
  });
});

describe('the file of stores', () => {
  it('is refused with the member at fault', () => {
    expect(() => parseStores('{', 'f.json')).toThrow(/f\.json is not JSON/);
    expect(() => parseStores('{"control":"127.0.0.1:1"}', 'f.json')).toThrow(/f\.json: control: .*etcd:\/\//);
    expect(() => parseStores('{"control":"etcd://a","cellz":{}}', 'f.json')).toThrow(/cellz/);
    const cell = '{"control":"etcd://a","cells":{"c":{"region":"r","address":"etcd://a:x"}}}';
    expect(() => parseStores(cell, 'f.json')).toThrow(/cells\.c\.address/);
  });
});

describe('what stands in etcd', () => {
  it('orders numbers as bytes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
        expect(numberOf(Buffer.from(digits(a)))).toBe(a);
        expect(Math.sign(Buffer.compare(Buffer.from(digits(a)), Buffer.from(digits(b))))).toBe(
          Math.sign(a - b),
        );
      }),
    );
  });

  it('ends a prefix right after all keys that have it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (p, k) => {
        const prefix = Buffer.from(p);
        const end = endOfPrefix(prefix);
        fc.pre(end.length > 1 || end[0] !== 0);
        const key = Buffer.from(k);
        const inside = Buffer.compare(key, prefix) >= 0 && Buffer.compare(key, end) < 0;
        expect(inside).toBe(key.subarray(0, prefix.length).equals(prefix));
      }),
    );
  });

  it('keeps a value with its lease, whatever it begins with', () => {
    const text = fc.string({ unit: fc.constantFrom('\u0001', 'a', '\u{1F986}', '{') });
    const lease = fc.option(fc.string({ unit: fc.constantFrom('n', '.', '7'), minLength: 1 }), {
      nil: undefined,
    });
    fc.assert(
      fc.property(text, lease, (value, name) => {
        expect(decodeValue(encodeValue(value, name))).toEqual(
          name === undefined ? { value } : { value, lease: name },
        );
      }),
    );
  });

  it('packs entries into blocks and gives them back', () => {
    const entry = fc.record({
      id: fc.string({ maxLength: 60 }),
      content: fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.record({ name: fc.string(), chunks: fc.nat(), bytes: fc.nat(), crc32: fc.nat() }),
      ),
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 20 }), fc.nat(1_000_000), (entries, before) => {
        const decoded = decodeBlock(encodeBlock(entries), before + entries.length);
        expect(decoded.map(({ seq }) => seq)).toEqual(entries.map((_, i) => before + i + 1));
        decoded.forEach(({ id, content }, i) => {
          expect(id).toBe(entries[i]!.id);
          const wanted = entries[i]!.content;
          if (wanted instanceof Uint8Array) expect(Buffer.compare(content as Uint8Array, wanted)).toBe(0);
          else expect(content).toEqual(wanted);
        });
      }),
    );
  });

  it('calls a damaged block damaged, and reads nothing from it', () => {
    const block = encodeBlock([{ id: 'a', content: Buffer.from('delta') }]);
    expect(() => decodeBlock(block.subarray(0, block.length - 1), 1)).toThrow(/damaged/);
    expect(() => decodeBlock(Buffer.from([0, 0]), 1)).toThrow(/damaged/);
    expect(() => decodeBlock(block, 0)).toThrow(/damaged/);
  });
});
