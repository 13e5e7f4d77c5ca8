import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IdempotencyKey } from '../model/request.ts';
import { IdempotencyWindow, requestHash } from './idempotency.ts';
import { WINDOW_AGE_MS_MAX, WINDOW_BYTES_MAX, WINDOW_KEYS_MAX } from './limits.ts';

interface Call {
  key: IdempotencyKey;
  result: string;
  waitMs: number;
}

/** A slow, obvious twin of the client half: one list, oldest first. */
class ListOfKeys {
  list: { key: string; atMs: number; result: string }[] = [];
  forgottenMs = Number.NEGATIVE_INFINITY;

  record(key: string, atMs: number, result: string): void {
    this.list = this.list.filter((entry) => entry.key !== key);
    this.list.push({ key, atMs, result });
    const bytes = () =>
      this.list.reduce((sum, entry) => sum + 64 + entry.key.length + entry.result.length, 0);
    while (
      this.list.length > 1 &&
      (this.list.length > WINDOW_KEYS_MAX ||
        bytes() > WINDOW_BYTES_MAX ||
        atMs - this.list[0]!.atMs > WINDOW_AGE_MS_MAX)
    ) {
      this.forgottenMs = Math.max(this.forgottenMs, this.list.shift()!.atMs);
    }
  }

  lookup(key: string, nowMs: number, ageMs: number | undefined): string | undefined {
    const found = this.list.find((entry) => entry.key === key && nowMs - entry.atMs <= WINDOW_AGE_MS_MAX);
    if (found !== undefined) return found.result;
    if (ageMs === undefined) return 'unknown';
    return ageMs > WINDOW_AGE_MS_MAX || nowMs - ageMs <= this.forgottenMs ? 'expired' : 'unknown';
  }
}

const clientCall = fc.record({
  key: fc.nat(12).map((n): IdempotencyKey => ({ kind: 'client', key: `key-${n}` })),
  // Some results so large that a few fill the window.
  result: fc.oneof(
    fc.constant('"r"'),
    fc.nat(400_000).map((n) => 'x'.repeat(n)),
  ),
  waitMs: fc.oneof(fc.nat(1_000), fc.nat(WINDOW_AGE_MS_MAX)),
});

describe('the idempotency window', () => {
  it('remembers what a plain list of keys remembers, also through a snapshot', () => {
    fc.assert(
      fc.property(
        fc.array(clientCall, { maxLength: 40 }),
        fc.nat(39),
        fc.option(fc.nat(2 * WINDOW_AGE_MS_MAX)),
        (calls, cut, age) => {
          let window = new IdempotencyWindow();
          const twin = new ListOfKeys();
          let nowMs = 1_000;
          calls.forEach((call: Call, i) => {
            nowMs += call.waitMs;
            const { key } = call.key as { key: string };
            window.record(call.key, { hash: 1, atMs: nowMs, seq: i + 1, result: call.result });
            twin.record(key, nowMs, call.result);
            if (i === cut) window = IdempotencyWindow.fromSnapshot(structuredClone(window.toSnapshot(i + 1)));
            expect(window.size).toBe(twin.list.length);
            for (let n = 0; n <= 12; n++) {
              const found = window.lookup({ kind: 'client', key: `key-${n}` }, nowMs, age ?? undefined);
              const text = typeof found === 'string' ? found : found.result;
              expect(text).toBe(twin.lookup(`key-${n}`, nowMs, age ?? undefined));
            }
          });
        },
      ),
    );
  });

  it('forgets and refuses gateway numbers below the mark, and remembers all from it on', () => {
    const step = fc.record({ gateway: fc.constantFrom('a', 'b'), ahead: fc.nat(6), raise: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const window = new IdempotencyWindow();
        const marks: Record<string, number> = { a: 0, b: 0 };
        const ran = new Map<string, number>();
        steps.forEach(({ gateway, ahead, raise }, i) => {
          const mark = marks[gateway]! + raise;
          const number = mark + ahead;
          const key: IdempotencyKey = { kind: 'gateway', gateway, number, lowWater: mark };
          marks[gateway] = mark;
          if (window.lookup(key, 0, undefined) !== 'unknown') return;
          window.record(key, { hash: i, atMs: 0, seq: i + 1, result: '' });
          ran.set(`${gateway}/${number}`, i);
          for (const [name, at] of ran) {
            const [of, n] = name.split('/') as [string, string];
            const found = window.lookup(
              { kind: 'gateway', gateway: of, number: Number(n), lowWater: 0 },
              0,
              undefined,
            );
            if (Number(n) >= marks[of]!) expect(found).toMatchObject({ hash: at });
            // Whatever ran never counts as new: it is remembered or refused.
            else expect(found).not.toBe('unknown');
          }
        });
      }),
    );
  });

  it('is bounded in keys and bytes whatever gateways do', () => {
    const window = new IdempotencyWindow();
    for (let i = 0; i < WINDOW_KEYS_MAX + 500; i++) {
      const key: IdempotencyKey = { kind: 'gateway', gateway: `g${i % 3}`, number: i, lowWater: 0 };
      window.record(key, { hash: 0, atMs: i, seq: i + 1, result: '' });
    }
    expect(window.size).toBeLessThanOrEqual(WINDOW_KEYS_MAX);
    expect(window.lookup({ kind: 'gateway', gateway: 'g0', number: 0, lowWater: 0 }, 0, undefined)).toBe(
      'expired',
    );
  });

  it('tells requests apart by handler and by every byte', () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    expect(requestHash('a', bytes('b1'))).not.toBe(requestHash('ab', bytes('1')));
    expect(requestHash('a', bytes('{"x":1}'))).not.toBe(requestHash('a', bytes('{"x":2}')));
    expect(requestHash('a', bytes('{"x":1}'))).toBe(requestHash('a', bytes('{"x":1}')));
  });
});
