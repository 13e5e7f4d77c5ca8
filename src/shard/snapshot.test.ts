import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SLICE_MS_MAX } from './limits.ts';
import type { Json } from './patch.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotContent } from './snapshot.ts';

/** A clock on which each look takes time, so that slicing shows without any real delay. */
class SteppingSlicer {
  nowMs = 0;
  slices = 1;
  longestMs = 0;
  readonly #stepMs: number;
  #sliceStartMs = 0;
  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }
  monotonicMs(): number {
    this.nowMs += this.#stepMs;
    this.longestMs = Math.max(this.longestMs, this.nowMs - this.#sliceStartMs);
    return this.nowMs;
  }
  defer(run: () => void): void {
    this.slices++;
    this.#sliceStartMs = this.nowMs;
    queueMicrotask(run);
  }
}

function content(state: Json | undefined): SnapshotContent {
  return {
    version: 3,
    timeMs: 1234,
    state,
    stateBytes: 77,
    window: {
      rows: [
        ['key', '', 0, 1, 2, 3, '"result"'],
        ['', 'gw', 9, 1, 2, 4, ''],
      ],
      marks: [['gw', 8]],
      forgottenMs: Number.NEGATIVE_INFINITY,
    },
  };
}

describe('a snapshot', () => {
  it('decodes to what was encoded, large or small', async () => {
    const big = fc
      .array(fc.string({ minLength: 0, maxLength: 20 }), { maxLength: 5 })
      .map((parts) => parts.map((part) => part.repeat(2_000)));
    await fc.assert(
      fc.asyncProperty(
        fc.option(fc.dictionary(fc.string(), fc.oneof(fc.jsonValue({ maxDepth: 3 }), big)), {
          nil: undefined,
        }),
        async (value) => {
          const state = value && (JSON.parse(JSON.stringify(value).replaceAll('__proto__', 'p')) as Json);
          const bytes = await encodeSnapshot(content(state), new SteppingSlicer(1));
          expect(await decodeSnapshot(bytes, new SteppingSlicer(1))).toEqual(content(state));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('of megabytes, in lists, objects and both nested, is encoded and decoded in short slices', async () => {
    const state: Json = {
      list: Array.from({ length: 30_000 }, (_, i) => ({ i, text: `message ${i}` })),
      wide: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, { i }])),
      nested: {
        inner: { lists: Array.from({ length: 40 }, () => Array.from({ length: 2_000 }, (_, i) => i)) },
      },
      after: 1,
    };
    const encoding = new SteppingSlicer(0.5);
    const bytes = await encodeSnapshot(content(state), encoding);
    expect(encoding.slices).toBeGreaterThan(5);
    expect(encoding.longestMs).toBeLessThanOrEqual(SLICE_MS_MAX + 1);
    const decoding = new SteppingSlicer(0.5);
    expect(await decodeSnapshot(bytes, decoding)).toEqual(content(state));
    expect(decoding.slices).toBeGreaterThan(5);
    expect(decoding.longestMs).toBeLessThanOrEqual(SLICE_MS_MAX + 1);
  });

  it('that is damaged is refused as unreadable', async () => {
    const bytes = await encodeSnapshot(content({ a: 1 }), new SteppingSlicer(0));
    for (const damaged of [
      bytes.slice(0, -1),
      bytes.slice(0, 3),
      new Uint8Array(9).fill(255),
      new Uint8Array(0),
    ]) {
      const decode = async () => decodeSnapshot(damaged, new SteppingSlicer(0));
      await expect(decode()).rejects.toMatchObject({ code: 'state-unreadable' });
    }
  });
});
