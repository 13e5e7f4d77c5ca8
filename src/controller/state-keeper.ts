/**
 * Keeps the engine's state where a new leader finds it, at most {@link STATE_EVERY_MS} old.
 *
 * Not in the control store: the windows and models of 100,000 shards are hundreds of megabytes, and writing them there
 * every half minute would starve the leases and swaps that everything hangs on. Instead the leader writes a file on its
 * own disk (for its own restart), and every standby pulls a copy from the leader over the wire (for a lost host).
 * Losing all copies loses no data: forecasts are learnt again from load.
 */
import type { Clock, Disk, Log } from '../io/io.ts';
import type { RpcClient, StreamHandler } from '../wire/rpc.ts';

export const STATE_EVERY_MS = 30_000;
const CHUNK_BYTES = 1024 * 1024;
/** A bound on what a standby takes from a peer. */
export const STATE_BYTES_MAX = 2 * 1024 * 1024 * 1024;

export interface StateKeeperOptions {
  clock: Clock;
  disk: Disk;
  log: Log;
  /** Absent: nothing is written, for tests and simulated worlds. */
  file?: string;
  leads: () => boolean;
  save: () => Promise<Uint8Array>;
  /** A connection to the leader, unless this process leads or nobody does. */
  leader: () => RpcClient | undefined;
}

export class StateKeeper {
  readonly #options: StateKeeperOptions;
  #latest: Uint8Array | undefined;
  #cancelTimer: () => void = () => {};
  #running = false;

  constructor(options: StateKeeperOptions) {
    this.#options = options;
  }

  /** What the wire serves to standbys: the latest saved state in pieces. */
  readonly serve: StreamHandler = async (_payload, stream) => {
    const bytes = this.#latest ?? new Uint8Array();
    for (let offset = 0; offset < bytes.byteLength; offset += CHUNK_BYTES)
      stream.emit(bytes.subarray(offset, offset + CHUNK_BYTES));
    return { bytes: bytes.byteLength };
  };

  start(): void {
    this.#cancelTimer = this.#options.clock.setTimer(STATE_EVERY_MS, () => {
      this.keep().finally(() => this.start());
    });
  }

  stop(): void {
    this.#cancelTimer();
    this.start = () => {};
  }

  /** Saves (leader) or pulls (standby) once. Never rejects: a failure leaves the older copy. */
  async keep(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      const bytes = this.#options.leads() ? await this.#options.save() : await this.#pull();
      if (!bytes || bytes.byteLength === 0) return;
      this.#latest = bytes;
      if (this.#options.file) await this.#options.disk.write(this.#options.file, bytes);
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'the state of the loop was not kept this time');
    } finally {
      this.#running = false;
    }
  }

  /** What a process that becomes leader starts from. */
  async recover(): Promise<Uint8Array | undefined> {
    if (this.#latest) return this.#latest;
    if (!this.#options.file) return undefined;
    return this.#options.disk.read(this.#options.file).catch((error) => {
      this.#options.log.warn(
        { error: String(error) },
        'the saved state cannot be read; forecasts learn anew',
      );
      return undefined;
    });
  }

  #pull(): Promise<Uint8Array | undefined> {
    const leader = this.#options.leader();
    if (!leader) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      const stream = leader.open<Uint8Array>(
        'controller.state',
        {},
        (chunk) => {
          bytes += chunk.byteLength;
          if (bytes > STATE_BYTES_MAX) {
            stream.cancel();
            reject(new RangeError(`the leader's state is over ${STATE_BYTES_MAX} bytes`));
          } else chunks.push(chunk);
        },
        (error) => (error ? reject(error) : resolve(new Uint8Array(Buffer.concat(chunks)))),
      );
    });
  }
}
