import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linearize, type SequentialModel, type TimedOperation } from './linearizability.ts';

/** A register that adds and tells: `told` absent where the answer is not known. */
interface Add extends TimedOperation {
  amount: number;
  told?: number | undefined;
}
const register: SequentialModel<number, Add> = {
  initial: 0,
  key: String,
  step: (state, { amount, told }) =>
    told === undefined || told === state + amount ? state + amount : undefined,
};
const verdict = (...operations: Add[]) => linearize(operations, register).verdict;

describe('hand-written histories', () => {
  it('an empty history, and one after the other', () => {
    expect(verdict()).toBe('yes');
    expect(
      verdict(
        { invokedMs: 0, returnedMs: 1, amount: 2, told: 2 },
        { invokedMs: 2, returnedMs: 3, amount: 1, told: 3 },
      ),
    ).toBe('yes');
  });

  it('concurrent ones in the order that explains them, whichever was sent first', () => {
    expect(
      verdict(
        { invokedMs: 0, returnedMs: 9, amount: 2, told: 3 },
        { invokedMs: 1, returnedMs: 8, amount: 1, told: 1 },
      ),
    ).toBe('yes');
  });

  it('not against real time', () => {
    expect(
      verdict(
        { invokedMs: 0, returnedMs: 1, amount: 2, told: 3 },
        { invokedMs: 2, returnedMs: 3, amount: 1, told: 1 },
      ),
    ).toBe('no');
  });

  it('a stale reading', () => {
    expect(
      verdict(
        { invokedMs: 0, returnedMs: 1, amount: 2, told: 2 },
        { invokedMs: 2, returnedMs: 3, amount: 0, told: 0 },
      ),
    ).toBe('no');
  });

  it('a lost command, and one that happened twice', () => {
    const first: Add = { invokedMs: 0, returnedMs: 1, amount: 2, told: 2 };
    expect(verdict(first, { invokedMs: 2, returnedMs: 3, amount: 1, told: 1 })).toBe('no');
    expect(verdict(first, { invokedMs: 2, returnedMs: 3, amount: 1, told: 5 })).toBe('no');
  });

  it('one without an answer may have happened, late, or never', () => {
    const open: Add = { invokedMs: 0, amount: 5 };
    expect(verdict(open, { invokedMs: 1, returnedMs: 2, amount: 1, told: 1 })).toBe('yes');
    expect(verdict(open, { invokedMs: 1, returnedMs: 2, amount: 1, told: 6 })).toBe('yes');
    expect(
      verdict(
        open,
        { invokedMs: 1, returnedMs: 2, amount: 1, told: 1 },
        { invokedMs: 3, returnedMs: 4, amount: 0, told: 6 },
        { invokedMs: 5, returnedMs: 6, amount: 0, told: 6 },
      ),
    ).toBe('yes');
    // Once seen, it cannot be unseen.
    expect(
      verdict(
        open,
        { invokedMs: 1, returnedMs: 2, amount: 0, told: 5 },
        { invokedMs: 3, returnedMs: 4, amount: 0, told: 0 },
      ),
    ).toBe('no');
    expect(verdict({ invokedMs: 0, returnedMs: 1, amount: 0, told: 5 }, { invokedMs: 2, amount: 5 })).toBe(
      'no',
    );
  });

  it('gives up, and says so', () => {
    const many = Array.from(
      { length: 12 },
      (_, i): Add => ({ invokedMs: 0, returnedMs: 9, amount: 2 ** i, told: -1 }),
    );
    expect(linearize(many, register, 5).verdict).toBe('unknown');
  });
});

/** The slow, obvious twin: every subset of open operations, every order, each checked from the front. */
function bruteForce(operations: Add[]): boolean {
  const open = operations.filter(({ returnedMs }) => returnedMs === undefined);
  const closed = operations.filter(({ returnedMs }) => returnedMs !== undefined);
  for (let mask = 0; mask < 1 << open.length; mask++) {
    const chosen = [...closed, ...open.filter((_, i) => mask & (1 << i))];
    if (permutations(chosen).some((order) => respectsTime(order) && explains(order))) return true;
  }
  return false;
}

function respectsTime(order: Add[]): boolean {
  return order.every((later, at) =>
    order
      .slice(0, at)
      .every((earlier) => !(later.returnedMs !== undefined && later.returnedMs < earlier.invokedMs)),
  );
}

function explains(order: Add[]): boolean {
  let state: number | undefined = register.initial;
  for (const operation of order) {
    if (state === undefined) return false;
    state = register.step(state, operation);
  }
  return state !== undefined;
}

function permutations<Item>(items: Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, at) =>
    permutations([...items.slice(0, at), ...items.slice(at + 1)]).map((rest) => [item, ...rest]),
  );
}

describe('against every order there is', () => {
  const operations = fc.array(
    fc.record({
      invokedMs: fc.integer({ min: 0, max: 6 }),
      lastsMs: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined, freq: 4 }),
      amount: fc.integer({ min: 0, max: 2 }),
      told: fc.integer({ min: 0, max: 5 }),
      hint: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
    }),
    { maxLength: 5 },
  );

  it('on random tiny histories', () => {
    const verdicts = { yes: 0, no: 0 };
    fc.assert(
      fc.property(operations, (drawn) => {
        const history = drawn.map(
          ({ invokedMs, lastsMs, amount, told, hint }): Add =>
            lastsMs === undefined
              ? { invokedMs, amount, hint }
              : { invokedMs, returnedMs: invokedMs + lastsMs, amount, told, hint },
        );
        const expected = bruteForce(history) ? 'yes' : 'no';
        verdicts[expected]++;
        expect(linearize(history, register).verdict).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
    // A property that only ever sees one answer proves nothing.
    expect(verdicts.yes).toBeGreaterThan(100);
    expect(verdicts.no).toBeGreaterThan(100);
  });

  it('on histories made from a real order, so that most are linearizable', () => {
    fc.assert(
      fc.property(operations, (drawn) => {
        let state = 0;
        const history = drawn.map(({ lastsMs, amount, invokedMs }, place): Add => {
          state += amount;
          // It takes effect at time 10 * place, somewhere between its ends.
          const at = place * 10;
          return { invokedMs: at - invokedMs * 4, returnedMs: at + (lastsMs ?? 0) * 6, amount, told: state };
        });
        expect(linearize(history, register).verdict).toBe('yes');
      }),
    );
  });
});
