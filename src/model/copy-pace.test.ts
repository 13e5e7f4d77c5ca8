/** What copies may take of a node. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COPY_ROOM_SHARE, COPY_SHARE_MIN, copyShareOf } from './copy-pace.ts';

describe('copies of a node', () => {
  it('never make it fuller than the room for both, but for the little that keeps them going', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: COPY_ROOM_SHARE, maxExcluded: true, noNaN: true }), (requests) => {
        const copies = copyShareOf(requests);
        expect(requests + copies).toBeLessThanOrEqual(COPY_ROOM_SHARE + COPY_SHARE_MIN);
        expect(copies).toBeGreaterThanOrEqual(COPY_SHARE_MIN);
      }),
    );
  });

  it('have the whole room of an idle one, and are not held back where requests alone are too many', () => {
    expect(copyShareOf(0)).toBe(COPY_ROOM_SHARE);
    expect(copyShareOf(-1)).toBe(COPY_ROOM_SHARE);
    expect(copyShareOf(COPY_ROOM_SHARE)).toBe(1);
    expect(copyShareOf(3)).toBe(1);
  });
});
