import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GatewayKeys, KEY_WINDOW } from './gateway-keys.ts';

describe('gateway keys', () => {
  it('grow by one, and their mark is the lowest number under way', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (choices) => {
        const keys = new GatewayKeys('gw.1');
        const underWay = new Set<number>();
        let last = 0;
        for (const choice of choices) {
          if (choice < 10) {
            const lowest = underWay.size > 0 ? Math.min(...underWay) : last + 1;
            const key = keys.take()!;
            expect(key).toEqual({ kind: 'gateway', gateway: 'gw.1', number: last + 1, lowWater: lowest });
            underWay.add(key.number);
            last = key.number;
          } else {
            const number = [...underWay][choice % Math.max(1, underWay.size)];
            if (number === undefined) continue;
            keys.done(number);
            keys.done(number);
            underWay.delete(number);
          }
          expect(keys.underWay).toBe(underWay.size);
        }
      }),
    );
  });

  it('are as right where thousands are under way, answered in any order', () => {
    const keys = new GatewayKeys('gw.1');
    const underWay = new Set<number>();
    const done = (number: number) => {
      keys.done(number);
      underWay.delete(number);
    };
    // The mark stands at no multiple of anything when room runs out.
    for (let i = 0; i < 700; i++) keys.done(keys.take()!.number);
    for (let i = 0; i < 5_000; i++) {
      underWay.add(keys.take()!.number);
      if (i % 3 === 0) done(701 + ((i * 7) % (i + 1)));
    }
    expect(keys.underWay).toBe(underWay.size);
    expect(underWay.size).toBeGreaterThan(2_000);
    expect(keys.take()).toMatchObject({ number: 5_701, lowWater: Math.min(...underWay) });
    for (const number of [...underWay].reverse()) done(number);
    expect(keys.take()).toMatchObject({ number: 5_702, lowWater: 5_701 });
  });

  it('stop where the oldest is a whole window behind, and go on when it is done', () => {
    const keys = new GatewayKeys('gw.1');
    const oldest = keys.take()!;
    for (let i = 1; i < KEY_WINDOW; i++) keys.done(keys.take()!.number);
    expect(keys.take()).toBeUndefined();
    keys.done(oldest.number);
    expect(keys.take()).toMatchObject({ number: KEY_WINDOW + 1, lowWater: KEY_WINDOW + 1 });
  });
});
