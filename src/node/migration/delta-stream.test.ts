/**
 * Test plan: a primary in pieces, so that its cell's log can hold more than it was told of.
 */
import { expect, it } from 'vitest';
import { realIo } from '../../io/real.ts';
import type { LogEntry } from '../../store/store.ts';
import type { ParticipantHost } from '../participant.ts';
import { serveDeltas } from './delta-stream.ts';

const entry = (seq: number): LogEntry => ({ seq, id: `a:${seq}`, delta: new Uint8Array([seq]) });

it('a reader far behind gets from the log only what the primary knows to be durable', async () => {
  let appended: (entries: LogEntry[], durableSeq: number) => void = () => {};
  const replica = {
    role: 'primary',
    assignment: { epoch: 1, cell: 'cell-a' },
    state: { durableSeq: 2 },
    onDurable(listener: typeof appended) {
      appended = listener;
      return () => {};
    },
    onEnd: () => () => {},
  };
  const host = {
    io: realIo({ logLevel: 'silent' }),
    self: { processId: 'a' },
    replica: () => replica,
    // The third append has landed, its answer is late: the primary would answer a read index with 2.
    cell: () => ({ tail: async () => ({ entries: [entry(1), entry(2), entry(3)], end: 3, firstSeq: 1 }) }),
  } as unknown as ParticipantHost;
  const sent: number[] = [];
  const context = {
    identity: 'b',
    bufferedBytes: 0,
    emit: (item: unknown) => sent.push(...(item as { entries: LogEntry[] }).entries.map(({ seq }) => seq)),
    onCancel: () => {},
  };
  void serveDeltas(host, { shard: 'count/1', migration: 'm', afterSeq: 0 }, context);
  await new Promise(setImmediate);
  expect(sent).toEqual([1, 2]);
  appended([entry(3)], 3);
  expect(sent).toEqual([1, 2, 3]);
});
