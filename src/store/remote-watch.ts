/**
 * A watch that survives its connection: it subscribes again from the last revision it delivered, waiting longer after
 * each failure, and gives a silent connection up. Never throws.
 */
import type { Clock, Log, Random } from '../io/io.ts';
import type { ClientStream, RpcError } from '../wire/rpc.ts';
import type { StoreConnection } from './connection.ts';
import { WATCH_HEARTBEAT_MS, type WatchBatch } from './protocol.ts';
import type { WatchEvent } from './store.ts';

const BACKOFF_MS_MIN = 20;
const BACKOFF_MS_MAX = 1_000;
/** Three heartbeats and the longest way. */
const SILENCE_MS_MAX = 3 * WATCH_HEARTBEAT_MS + 1_000;

export interface RemoteWatchOptions {
  connection: StoreConnection;
  clock: Clock;
  random: Random;
  log: Log;
  prefixes: string[];
  fromRevision: number;
  onEvent: (event: WatchEvent) => void;
  onProgress: (revision: number) => void;
}

export class RemoteWatch {
  readonly #options: RemoteWatchOptions;
  #revision: number;
  #stream: ClientStream | undefined;
  #backoffMs = BACKOFF_MS_MIN;
  #heardMs = 0;
  #cancelBackoff: () => void = () => {};
  #cancelSilence: () => void = () => {};
  #closed = false;

  constructor(options: RemoteWatchOptions) {
    this.#options = options;
    this.#revision = options.fromRevision;
    this.#subscribe();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelBackoff();
    this.#cancelSilence();
    this.#stream?.cancel();
  }

  #subscribe(): void {
    const { connection, clock, prefixes } = this.#options;
    // Items and ends of a stream that was given up must not be taken for the present one's.
    const own: { stream?: ClientStream; over: boolean } = { over: false };
    const end = (error: RpcError | undefined) => {
      if (own.over || this.#closed) return;
      own.over = true;
      this.#again(error);
    };
    this.#heardMs = clock.monotonicMs();
    this.#stream = connection.open(
      'control.watch',
      { prefixes, fromRevision: this.#revision },
      (batch) => {
        if (!own.over && !this.#closed) this.#deliver(batch);
      },
      end,
    );
    this.#watchSilence(() => {
      if (own.over) return;
      own.over = true;
      connection.reconnect();
      this.#again(undefined);
    });
  }

  #deliver(batch: WatchBatch): void {
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#backoffMs = BACKOFF_MS_MIN;
    this.#revision = batch.revision;
    if ('reset' in batch) this.#emit({ type: 'reset', revision: batch.revision });
    else for (const event of batch.events) this.#emit(event);
    try {
      if (!this.#closed) this.#options.onProgress(batch.revision);
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'a watcher failed at progress');
    }
  }

  #emit(event: WatchEvent): void {
    if (this.#closed) return;
    try {
      this.#options.onEvent(event);
    } catch (error) {
      // One bad event must not end the watch for the others; its handler is at fault, and is named by the stack.
      const stack = error instanceof Error ? error.stack : String(error);
      this.#options.log.error({ error: stack, event: event.type }, 'a watcher failed at an event');
    }
  }

  #again(error: RpcError | undefined): void {
    this.#cancelSilence();
    const delayMs = this.#backoffMs * (0.5 + this.#options.random.next());
    this.#backoffMs = Math.min(BACKOFF_MS_MAX, this.#backoffMs * 2);
    this.#options.log.debug(
      { error: error?.message, delayMs, revision: this.#revision },
      'a watch of the control store broke and will resume',
    );
    this.#cancelBackoff = this.#options.clock.setTimer(delayMs, () => {
      if (!this.#closed) this.#subscribe();
    });
  }

  #watchSilence(onSilence: () => void): void {
    const { clock } = this.#options;
    this.#cancelSilence();
    const check = () => {
      const silentMs = clock.monotonicMs() - this.#heardMs;
      if (silentMs >= SILENCE_MS_MAX) onSilence();
      else this.#cancelSilence = clock.setTimer(SILENCE_MS_MAX - silentMs, check);
    };
    this.#cancelSilence = clock.setTimer(SILENCE_MS_MAX, check);
  }
}
