/**
 * A store on the wire: the calls of `protocol.ts` over local stores, whose group commit makes them durable before
 * they are answered.
 */
import type { Io } from '../io/io.ts';
import { type CallHandler, type RpcHandlers, type StreamContext, serveRpc } from '../wire/rpc.ts';
import { eventBytes } from './history.ts';
import { LocalCellStore, LocalControlStore } from './local.ts';
import { SNAPSHOT_CHUNK_BYTES, type StoreCalls, type StoreStreams, type WatchBatch } from './protocol.ts';
import type { SqliteCell } from './sqlite/cell-engine.ts';
import type { SqliteControl } from './sqlite/control-engine.ts';
import { checkCrc32, Staging } from './staging.ts';
import { StoreError } from './store.ts';

/** A watcher this far behind is cut off; it comes back from its last revision, or lists again. */
const WATCH_BUFFERED_BYTES_MAX = 64 * 1024 * 1024;
const WATCH_ITEM_BYTES_TARGET = 2 * 1024 * 1024;
const WATCH_PREFIXES_MAX = 10_000;

type Calls<Area extends string> = {
  [Method in Extract<keyof StoreCalls, `${Area}.${string}`>]: (
    payload: StoreCalls[Method][0],
  ) => StoreCalls[Method][1] | Promise<StoreCalls[Method][1]>;
};

/** A call as it reached the store. */
export interface StoreCall {
  method: string;
  payload: unknown;
  /** Who calls, as it named itself. */
  identity: string;
}

/** Stands between the wire and the store: how the simulated world makes one slow, failing or late. */
export interface StoreFilter {
  /** Runs, delays or refuses `run`; what it returns is the answer. */
  call(call: StoreCall, run: () => unknown): unknown;
  /** Sends news to a watcher, now or later. */
  emit(send: () => void): void;
}

export interface StoreServer {
  /** Where clients connect: host and port. */
  readonly address: string;
  /** Stops answering. The engines stay their owner's to close. */
  close(): Promise<void>;
}

/**
 * Serves either engine or both.
 *
 * @example
 * const cell = new SqliteCell({ path: 'cell.sqlite' });
 * const server = await serveStore({ io, address: '127.0.0.1:0', token, cell });
 */
export async function serveStore(options: {
  io: Io;
  address: string;
  token: string;
  control?: SqliteControl;
  cell?: SqliteCell;
  filter?: StoreFilter;
}): Promise<StoreServer> {
  const { io } = options;
  const control = options.control && new LocalControlStore(options.control, io);
  const cell = options.cell && new LocalCellStore(options.cell, io);
  const calls: Record<string, CallHandler> = {};
  const handlers: RpcHandlers = { calls, streams: {} };
  if (control) {
    Object.assign(calls, controlCalls(control));
    handlers.streams!['control.watch'] = (payload, context) => watch(control, payload, context);
  }
  if (cell) Object.assign(calls, cellCalls(cell, new Staging(() => io.clock.monotonicMs())));
  if (options.filter) filtered(handlers, options.filter);
  const listener = await serveRpc({
    network: io.network,
    address: options.address,
    token: options.token,
    handlers,
  });
  return {
    address: listener.address,
    async close() {
      control?.close();
      cell?.close();
      await listener.close();
    },
  };
}

function filtered(handlers: RpcHandlers, filter: StoreFilter): void {
  const { calls = {}, streams = {} } = handlers;
  for (const [method, handler] of Object.entries(calls)) {
    calls[method] = (payload, context) =>
      filter.call({ method, payload, identity: context.identity }, () => handler(payload, context));
  }
  for (const [name, handler] of Object.entries(streams)) {
    streams[name] = (payload, context) => {
      const { emit } = context;
      context.emit = (item) => filter.emit(() => emit(item));
      return handler(payload, context);
    };
  }
}

function controlCalls(store: LocalControlStore): Calls<'control'> {
  return {
    'control.get': ({ key }) => store.get(key),
    'control.list': ({ prefix, limit, after }) => store.listPage(prefix, { limit, after }),
    'control.transact': (transaction) => store.transact(transaction),
    'control.grantLease': ({ leaseId, ttlMs }) => store.grantLease(leaseId, ttlMs).then(nothing),
    'control.keepAlive': ({ leaseId }) => store.keepAlive(leaseId).then(nothing),
    'control.revokeLease': ({ leaseId }) => store.revokeLease(leaseId).then(nothing),
  };
}

function cellCalls(store: LocalCellStore, staging: Staging): Calls<'cell'> {
  return {
    'cell.raiseFence': ({ shard, epoch }) => store.raiseFence(shard, epoch),
    'cell.open': ({ shard, epoch, knownSeq }) => store.openPart(shard, epoch, SNAPSHOT_CHUNK_BYTES, knownSeq),
    'cell.append': ({ batch }) =>
      store.append(batch).then((results) => (results.every((result) => result.ok) ? null : results)),
    'cell.tail': ({ shard, afterSeq, limitBytes }) => store.tail(shard, afterSeq, limitBytes),
    'cell.stage': ({ upload, totalBytes, offset, bytes }) => {
      staging.add(upload, totalBytes, offset, bytes);
      return null;
    },
    'cell.putSnapshot': ({ shard, epoch, seq, crc32, bytes, upload }) => {
      if (upload !== undefined)
        return store.putSnapshot(shard, epoch, { seq, bytes: staging.take(upload, crc32) });
      if (!bytes) throw new StoreError('invalid', 'a snapshot without bytes');
      checkCrc32(bytes, crc32);
      return store.putSnapshot(shard, epoch, { seq, bytes });
    },
    'cell.readSnapshot': ({ shard, seq, offset, bytesMax }) =>
      store
        .readSnapshot(shard, seq, offset, Math.min(bytesMax, SNAPSHOT_CHUNK_BYTES))
        .then((part) => part ?? null),
    'cell.trim': ({ shard, epoch, throughSeq }) => store.trim(shard, epoch, throughSeq),
    'cell.deleteLog': ({ shard, epoch }) => store.deleteLog(shard, epoch),
    'cell.listShards': ({ limit, after }) => store.listShards({ limit, after }),
  };
}

const nothing = () => null;

/** Stays open until the client cancels or falls too far behind: then it ends with an error and starts again. */
function watch(
  store: LocalControlStore,
  { prefixes, fromRevision }: StoreStreams['control.watch'][0],
  context: StreamContext,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (!Array.isArray(prefixes) || prefixes.length > WATCH_PREFIXES_MAX) {
      reject(new StoreError('too-large', `a watch of more than ${WATCH_PREFIXES_MAX} prefixes`));
      return;
    }
    const subscription = store.watchBatches(prefixes, fromRevision, (batch) => {
      if (context.bufferedBytes > WATCH_BUFFERED_BYTES_MAX) {
        subscription.close();
        reject(new StoreError('unavailable', 'the watcher reads too slowly'));
        return;
      }
      for (const item of pieces(batch)) context.emit(item);
    });
    context.onCancel = () => {
      subscription.close();
      resolve(null);
    };
  });
}

/** Splits what would be too large a frame, between revisions only: a watcher resumes after whole revisions. */
function* pieces(batch: WatchBatch): Generator<WatchBatch> {
  if ('reset' in batch) {
    yield batch;
    return;
  }
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < batch.events.length; i++) {
    const event = batch.events[i]!;
    const previous = batch.events[i - 1];
    if (bytes > WATCH_ITEM_BYTES_TARGET && previous && previous.revision < event.revision) {
      yield { events: batch.events.slice(start, i), revision: previous.revision };
      start = i;
      bytes = 0;
    }
    bytes += eventBytes(event);
  }
  yield start === 0 ? batch : { events: batch.events.slice(start), revision: batch.revision };
}
