/**
 * The source's half of following: durable deltas after a seq, then live ones, in order and without a hole.
 *
 * Only durable deltas leave (OWNERSHIP rule 7): live ones come from `onDurable`, earlier ones from the cell's log.
 * A reader slower than the writer does not grow a queue here: what it has not room for is read from the log later.
 * A standby's deltas leave together with those of other shards (`standby/outbox.ts`).
 */
import type { Seq, ShardId } from '../../model/ids.ts';
import type { LogEntry } from '../../store/store.ts';
import type { StreamContext } from '../../wire/rpc.ts';
import { IDLE, type ParticipantHost } from '../participant.ts';
import { type NodeStreams, STANDBY } from '../protocol.ts';
import type { Outboxes } from '../standby/outbox.ts';
import { codeOf, messageOf, Refusal } from './refusal.ts';

/** Beyond this on the channel, live deltas are not queued but read again from the log. */
const CHANNEL_BYTES_MAX = 4 * 1024 * 1024;
const CATCH_UP_BYTES = 512 * 1024;
/** How long to wait for a full channel or a cell out of reach; a constant pause, not on the hand-off's path. */
const RETRY_DELAY_MS = 20;

type Item = NodeStreams['follow.deltas'][1];

/** Stays pending while the stream is open; rejects with `gap`, `not-primary` or `no-replica`. */
export function serveDeltas(
  host: ParticipantHost,
  order: { shard: ShardId; migration: string; afterSeq: Seq },
  context: StreamContext,
  outboxes?: Outboxes,
): Promise<never> {
  const replica = host.replica(order.shard);
  if (!replica)
    return Promise.reject(new Refusal('no-replica', `${order.shard} is not on ${host.self.processId}`));
  if (replica.role !== 'primary' && replica.role !== 'sealed')
    return Promise.reject(new Refusal('not-primary', `${order.shard} is ${replica.role} here`));
  const { epoch, cell } = replica.assignment;
  return new Promise((_, reject) => {
    let sentSeq = order.afterSeq;
    let durableSeq = replica.state.durableSeq;
    let catchingUp = false;
    let over = false;

    const finish = (error: Error | undefined) => {
      if (over) return;
      over = true;
      // What it was promised leaves before the word that there is no more.
      if (order.migration === STANDBY) outboxes?.of(context.identity)?.flush();
      unsubscribe();
      unwatchEnd();
      if (error) reject(error);
    };
    const emit = (entries: LogEntry[]) => {
      const last = entries.at(-1);
      if (last) sentSeq = last.seq;
      if (sentSeq > durableSeq) durableSeq = sentSeq;
      const outbox = order.migration === STANDBY ? outboxes?.of(context.identity) : undefined;
      if (outbox !== undefined && last) outbox.put({ shard: order.shard, epoch, durableSeq, entries });
      else context.emit({ entries, durableSeq, epoch } satisfies Item);
    };
    const catchUp = async () => {
      if (catchingUp) return;
      catchingUp = true;
      while (!over && sentSeq < durableSeq) {
        try {
          if (context.bufferedBytes > CHANNEL_BYTES_MAX) {
            await pause();
            continue;
          }
          const tail = await host.cell(cell).tail(order.shard, sentSeq, CATCH_UP_BYTES);
          if (over) return;
          // The log may have more than this primary was told of: who showed that would be ahead of its read index.
          const entries = tail.entries.filter(({ seq }) => seq <= durableSeq);
          if (entries[0]?.seq !== sentSeq + 1) {
            finish(new Refusal('gap', `the log of ${order.shard} no longer holds ${sentSeq + 1}`));
            return;
          }
          emit(entries);
        } catch (error) {
          if (codeOf(error) !== 'unavailable') {
            finish(new Refusal('refused', messageOf(error), { cause: error }));
            return;
          }
          await pause();
        }
      }
      catchingUp = false;
    };
    const pause = () =>
      new Promise<void>((resolve) => {
        host.io.clock.setTimer(RETRY_DELAY_MS, resolve);
      });

    const onDurable = (entries: LogEntry[], seq: Seq) => {
      if (over) return;
      if (seq > durableSeq) durableSeq = seq;
      const fresh =
        entries[0] && entries[0].seq <= sentSeq ? entries.filter((e) => e.seq > sentSeq) : entries;
      const contiguous = fresh[0]?.seq === sentSeq + 1;
      if (!catchingUp && contiguous && context.bufferedBytes <= CHANNEL_BYTES_MAX) emit(fresh);
      else void catchUp();
    };
    const unsubscribe = replica.onDurable(onDurable, {
      process: context.identity,
      migration: order.migration,
    });
    const unwatchEnd = replica.onEnd((reason) =>
      finish(new Refusal(reason === IDLE ? 'idle' : 'not-primary', reason)),
    );
    context.onCancel = () => finish(undefined);
    // At once, even without entries: so the follower learns how far behind it is.
    emit([]);
    if (sentSeq < durableSeq) void catchUp();
  });
}
