import { expect, it } from 'vitest';
import { History, type Operation } from './history.ts';

function history(operations: Partial<Operation>[]): History {
  const made = new History();
  for (const operation of operations) {
    made.operations.push({
      shard: 's/1',
      kind: 'command',
      client: 'c',
      number: 1,
      invokedMs: 0,
      status: 200,
      ...operation,
    });
  }
  return made;
}
const rules = (made: History) => made.check().map(({ rule }) => rule);

it('accepts commands and queries in order, and concurrent ones in any order', () => {
  expect(
    rules(
      history([
        { number: 1, invokedMs: 0, returnedMs: 10, seq: 1, value: 1 },
        { number: 2, invokedMs: 11, returnedMs: 30, seq: 3, value: 3 },
        { client: 'd', number: 1, invokedMs: 12, returnedMs: 31, seq: 2, value: 2 },
        { kind: 'query', number: 0, invokedMs: 12, returnedMs: 29, seq: 1, value: 1 },
        { kind: 'query', number: 0, invokedMs: 32, returnedMs: 40, seq: 3, value: 3 },
      ]),
    ),
  ).toEqual([]);
});

it('finds a query that shows less than was seen before', () => {
  expect(
    rules(
      history([
        { invokedMs: 0, returnedMs: 10, seq: 2 },
        { kind: 'query', invokedMs: 11, returnedMs: 12, seq: 1 },
      ]),
    ),
  ).toEqual(['stale']);
});

it('finds two commands at one seq, and one seq with two values', () => {
  expect(
    rules(
      history([
        { invokedMs: 0, returnedMs: 10, seq: 1 },
        { invokedMs: 5, returnedMs: 10, seq: 1 },
      ]),
    ),
  ).toEqual(['forked']);
  expect(
    rules(
      history([
        { invokedMs: 0, returnedMs: 10, seq: 1, value: 1 },
        { kind: 'query', invokedMs: 5, returnedMs: 10, seq: 1, value: 2 },
      ]),
    ),
  ).toEqual(['forked']);
});

it('finds lost and repeated commands in the final state', () => {
  const made = history([
    { number: 1, returnedMs: 1, seq: 1 },
    { number: 2, returnedMs: 2, seq: 2 },
  ]);
  expect(made.checkFinal(new Map([['s/1', { total: 2, clients: { c: [2, 0, 0] } }]]))).toEqual([]);
  expect(made.checkFinal(new Map([['s/1', { total: 1, clients: { c: [1, 0, 0] } }]]))[0]?.rule).toBe('lost');
  expect(
    made.checkFinal(new Map([['s/1', { total: 3, clients: { c: [2, 1, 0] } }]])).map((v) => v.rule),
  ).toEqual(['duplicated', 'duplicated']);
});

it('does not count unanswered commands as acknowledged', () => {
  const made = history([{ number: 1, status: 503 }]);
  expect(made.checkFinal(new Map())).toEqual([]);
});

it('lets an answer be as old as it says, and finds one that is older, or older than was asked for', () => {
  const stale = (more: Partial<Operation>) =>
    rules(
      history([
        { number: 1, invokedMs: 0, returnedMs: 10, seq: 1 },
        { number: 2, invokedMs: 20, returnedMs: 30, seq: 2 },
        { kind: 'query', invokedMs: 100, returnedMs: 110, staleMsMax: 80, ...more },
      ]),
    );
  expect(stale({ stalenessMs: 75, seq: 1 })).toEqual([]);
  expect(stale({ stalenessMs: 65, seq: 1 })).toEqual(['stale']);
  expect(stale({ seq: 1 })).toEqual(['stale']);
  expect(stale({ stalenessMs: 75, seq: 0 })).toEqual(['stale']);
  expect(stale({ stalenessMs: 81, seq: 2 })).toEqual(['stale']);
  expect(stale({ stalenessMs: 75, staleMsMax: undefined, seq: 2 })).toEqual(['stale']);
});
