import { describe, expect, it } from 'vitest';
import { History, type Operation, sweep } from './history.ts';
import { checkTally, nextDigest, type TallyReply, type TallyState } from './tally.ts';

const operation = (given: Partial<Operation>): Operation => ({
  shard: 's/1',
  kind: 'command',
  handler: 'add',
  input: undefined,
  client: 'c',
  invokedMs: 0,
  status: 200,
  servedBy: 'n.1',
  ...given,
});
const rulesOf = (operations: Partial<Operation>[]) => {
  const history = new History();
  for (const each of operations) history.invoke(operation(each));
  return history.check().map(({ rule }) => rule);
};

describe('what must be true of replies, whatever the app does', () => {
  it('accepts commands and queries in order, and concurrent ones in any order', () => {
    expect(
      rulesOf([
        { invokedMs: 0, returnedMs: 10, seq: 1, epoch: 1 },
        { invokedMs: 11, returnedMs: 30, seq: 3, epoch: 2, servedBy: 'm.1' },
        { client: 'd', invokedMs: 12, returnedMs: 31, seq: 2, epoch: 1 },
        { kind: 'query', handler: 'get', invokedMs: 12, returnedMs: 29, seq: 1 },
        { kind: 'query', handler: 'get', invokedMs: 32, returnedMs: 40, seq: 3 },
      ]),
    ).toEqual([]);
  });

  it('finds a query that shows less than was seen before', () => {
    expect(
      rulesOf([
        { invokedMs: 0, returnedMs: 10, seq: 2 },
        { kind: 'query', handler: 'get', invokedMs: 11, returnedMs: 12, seq: 1 },
      ]),
    ).toEqual(['stale']);
  });

  it('finds a reply without a seq', () => {
    expect(rulesOf([{ invokedMs: 0, returnedMs: 10 }])).toEqual(['forked']);
  });

  it('finds two processes that ran commands in one epoch', () => {
    expect(
      rulesOf([
        { invokedMs: 0, returnedMs: 10, seq: 1, epoch: 4 },
        { invokedMs: 11, returnedMs: 20, seq: 2, epoch: 4, servedBy: 'm.1' },
      ]),
    ).toEqual(['two-primaries']);
  });

  it('finds a log whose epochs go back, but lets a retry be answered by a later primary', () => {
    const commands = [
      { invokedMs: 0, returnedMs: 10, seq: 1, epoch: 2 },
      { invokedMs: 0, returnedMs: 20, seq: 2, epoch: 1, servedBy: 'm.1' },
    ];
    expect(rulesOf(commands)).toEqual(['forked']);
    expect(rulesOf([{ ...commands[0]!, replayed: true }, commands[1]!])).toEqual([]);
  });

  it('does not hold a refused or unanswered request against anybody', () => {
    expect(
      rulesOf([
        { status: 503, seq: 9, returnedMs: 1 },
        { invokedMs: 2, returnedMs: 3, seq: 1 },
      ]),
    ).toEqual([]);
  });

  it('lets an answer be as old as it says, and finds one that is older, or older than was asked for', () => {
    const stale = (more: Partial<Operation>) =>
      rulesOf([
        { invokedMs: 0, returnedMs: 10, seq: 1 },
        { invokedMs: 20, returnedMs: 30, seq: 2 },
        { kind: 'query', handler: 'get', invokedMs: 100, returnedMs: 110, staleMsMax: 80, ...more },
      ]);
    expect(stale({ stalenessMs: 75, seq: 1 })).toEqual([]);
    expect(stale({ stalenessMs: 65, seq: 1 })).toEqual(['stale']);
    expect(stale({ seq: 1 })).toEqual(['stale']);
    expect(stale({ stalenessMs: 75, seq: 0 })).toEqual(['stale']);
    expect(stale({ stalenessMs: 81, seq: 2 })).toEqual(['stale']);
    expect(stale({ stalenessMs: 75, staleMsMax: undefined, seq: 2 })).toEqual(['stale']);
  });

  it('sweeps in order of invocation, with what had surely returned before', () => {
    const floors: number[] = [];
    sweep(
      [
        operation({ invokedMs: 5, returnedMs: 6, seq: 4 }),
        operation({ invokedMs: 0, returnedMs: 5, seq: 9 }),
        operation({ invokedMs: 7, seq: 1 }),
      ],
      ({ seq }) => seq,
      (_, __, floor) => floors.push(floor),
    );
    // Returned at 5, sent at 5: concurrent.
    expect(floors).toEqual([0, 0, 9]);
  });
});

describe('the exact check by the order that the final state tells', () => {
  const stateOf = (...log: string[]): TallyState => ({
    log,
    total: log.length,
    digest: log.reduce(nextDigest, 0),
  });
  const shown = (...log: string[]): TallyReply => {
    const { total, digest } = stateOf(...log);
    return { total, digest };
  };
  const add = (name: string, given: Partial<Operation>) => operation({ input: { name }, ...given });
  const rules = (operations: Operation[], final: TallyState) =>
    checkTally('s/1', operations, final).map((v) => v.rule);

  it('accepts every command once, at the place it said', () => {
    expect(
      rules(
        [
          add('a', { invokedMs: 0, returnedMs: 9, output: shown('a') }),
          add('b', { invokedMs: 3, returnedMs: 8, output: shown('a', 'b') }),
          add('unknown', { invokedMs: 4, status: undefined }),
          operation({
            kind: 'query',
            handler: 'get',
            invokedMs: 10,
            returnedMs: 11,
            output: shown('a', 'b'),
          }),
        ],
        stateOf('a', 'b', 'unknown'),
      ),
    ).toEqual([]);
  });

  it('finds what was acknowledged and is lost', () => {
    expect(rules([add('a', { returnedMs: 1, output: shown('a') })], stateOf())).toContain('lost');
  });

  it('finds what took effect twice, or was never sent', () => {
    expect(rules([add('a', { returnedMs: 1, output: shown('a') })], stateOf('a', 'a'))).toContain(
      'duplicated',
    );
    expect(rules([], stateOf('a'))).toEqual(['forked']);
  });

  it('finds an acknowledged command at another place than it said', () => {
    const sent = [
      add('a', { returnedMs: 1, output: shown('a') }),
      add('b', { invokedMs: 0, returnedMs: 1, output: shown('b') }),
    ];
    expect(rules(sent, stateOf('a', 'b'))).toEqual(['forked']);
  });

  it('finds a reading of a history that is not this one, though it is as long', () => {
    const sent = [
      add('a', { status: undefined }),
      add('b', { status: undefined }),
      operation({ kind: 'query', handler: 'get', returnedMs: 5, output: shown('b') }),
    ];
    expect(rules(sent, stateOf('a', 'b'))).toEqual(['forked']);
  });

  it('finds a state that joined two histories', () => {
    const joined = { ...stateOf('a', 'b'), digest: nextDigest(nextDigest(0, 'x'), 'b') };
    expect(rules([add('a', { status: undefined }), add('b', { status: undefined })], joined)).toEqual([
      'forked',
    ]);
  });

  it('finds a reading that shows less than was known, and a command that took effect before it was sent', () => {
    const stale = [
      add('a', { invokedMs: 0, returnedMs: 1, output: shown('a') }),
      operation({ kind: 'query', handler: 'get', invokedMs: 2, returnedMs: 3, output: shown() }),
    ];
    expect(rules(stale, stateOf('a'))).toEqual(['stale']);
    const early = [
      add('a', { invokedMs: 0, returnedMs: 1, output: shown('early', 'a') }),
      add('early', { invokedMs: 2, status: undefined }),
    ];
    expect(rules(early, stateOf('early', 'a'))).toEqual(['stale']);
  });

  it('lets a command whose outcome was unknown take effect long after its error', () => {
    const late = [
      add('late', { invokedMs: 0, returnedMs: 1, status: 503 }),
      add('a', { invokedMs: 2, returnedMs: 3, output: shown('a') }),
    ];
    expect(rules(late, stateOf('a', 'late'))).toEqual([]);
  });

  it('takes what a refused command saw as a reading', () => {
    const refused = operation({
      handler: 'refuse',
      status: 409,
      invokedMs: 2,
      returnedMs: 3,
      output: { saw: shown() },
    });
    expect(
      rules([add('a', { invokedMs: 0, returnedMs: 1, output: shown('a') }), refused], stateOf('a')),
    ).toEqual(['stale']);
  });
});
