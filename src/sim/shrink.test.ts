import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandOf, minimize } from './shrink.ts';

describe('making a failure small', () => {
  it('keeps what the failure needs and nothing else', async () => {
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    const needs = [3, 17, 39];
    expect(await minimize(numbers, async (kept) => needs.every((one) => kept.includes(one)))).toEqual(needs);
  });

  it('keeps nothing where nothing is needed', async () => {
    expect(await minimize([1, 2, 3], async () => true)).toEqual([]);
    expect(await minimize([], async () => true)).toEqual([]);
  });

  it('ends at a part of which no single item can be left out', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 3 }), {
          maxLength: 3,
        }),
        async (items, causes) => {
          // Any one of several causes suffices; all items together are one, so that the whole fails.
          const fails = async (kept: number[]) =>
            kept.length === items.length || causes.some((cause) => cause.every((one) => kept.includes(one)));
          const kept = await minimize(items, fails);
          expect(await fails(kept)).toBe(true);
          for (const one of kept)
            expect(await fails(kept.filter((other) => other !== one))).toBe(
              kept.length === 1 && (await fails([])),
            );
        },
      ),
    );
  });

  it('prints the command that repeats it', () => {
    expect(commandOf('7', { faults: [3, 9], clients: ['us-east-1-u0'], operations: 4 })).toBe(
      "node --conditions=skein-source bench/simulation.ts --seed 7 --keep-faults '3,9' --keep-clients 'us-east-1-u0' --keep-operations 4 --trace",
    );
  });
});
