/**
 * The world as the product sees it. Everything that is not a pure decision takes an {@link Io}; `real.ts` is the
 * operating system, `sim/` a simulated one. No other folder reads clocks, randomness, sockets or files.
 */

import type { Region } from '../model/ids.ts';
import type { CpuSegments } from './cpu-segments.ts';

/** Two clocks: `monotonicMs` measures, `realtimeMs` is for people and for stamps that leave the process. */
export interface Clock {
  monotonicMs(): number;
  realtimeMs(): number;
  /** Calls `fire` once, not before `delayMs` from now. The returned function cancels; calling it late is harmless. */
  setTimer(delayMs: number, fire: () => void): () => void;
  /** Calls `run` after the events already queued, before any later timer: for batching what one tick brings. */
  defer(run: () => void): void;
}

/** A stream of random numbers. `split` gives a child stream, so that one more draw here does not reshuffle the rest. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  split(label: string): Random;
}

/**
 * Ordered, reliable frames between two processes until either side closes or the way breaks.
 * A frame handed to `send` may or may not have arrived when the channel closes: that is the caller's problem.
 */
export interface Channel {
  send(frame: Uint8Array): void;
  /** Set before the first frame can arrive, i.e. synchronously after `connect` or in the accept callback. */
  onFrame: (frame: Uint8Array) => void;
  onClose: (reason: string) => void;
  /** Bytes accepted by `send` and not yet handed to the operating system. */
  readonly bufferedBytes: number;
  /** False while the connection has never stood: then nothing sent has arrived. Absent: not known. */
  readonly opened?: boolean;
  close(): void;
}

export interface Listener {
  /** The address others connect to: host and port. */
  readonly address: string;
  close(): Promise<void>;
}

export interface Network {
  /** `address` is `host:port`; port 0 picks a free one. */
  listen(address: string, accept: (channel: Channel) => void): Promise<Listener>;
  /** Returns at once; frames sent before the connection stands are kept. A refused connection ends in `onClose`. */
  connect(address: string): Channel;
  /**
   * Where distances are emulated: milliseconds there and back from here to a region, by default the one where a cluster
   * has its control store. For what does not go through this network and must be as far all the same.
   */
  emulatedRoundTripMs?(region?: Region): number;
}

/** Small files that survive a restart: the gateway's route cache. Whole-file, atomic. */
export interface Disk {
  read(path: string): Promise<Uint8Array | undefined>;
  /** Replaces the file atomically (write, fsync, rename). */
  write(path: string, bytes: Uint8Array): Promise<void>;
}

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}

/** One HTTP exchange with the outside, on behalf of a handler. */
export interface HttpSend {
  method: string;
  /** `http:` or `https:`. */
  url: string;
  headers: [name: string, value: string][];
  body: Uint8Array | undefined;
  /** Of the decoded body; a longer one rejects with {@link ResponseTooLarge} as soon as that is known. */
  responseBytesMax: number;
  /** Aborted: the exchange ends and rejects. Time limits are the caller's. */
  signal: AbortSignal;
}

export interface HttpAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: Uint8Array;
}

/** HTTP to the outside. Redirects are answers like any other: whoever asks decides whether to follow. */
export interface HttpClient {
  /** Rejects where there is no whole answer; what was sent may have arrived all the same. */
  send(request: HttpSend): Promise<HttpAnswer>;
  /** A short name of a text that nobody can find another text for: for keys that outsiders see. */
  digest(text: string): string;
}

export class ResponseTooLarge extends Error {
  override readonly name = 'ResponseTooLarge';
}

export interface Io {
  clock: Clock;
  random: Random;
  network: Network;
  disk: Disk;
  log: Log;
  /** For `ctx.fetch`; absent: this world has no outside. */
  readonly http?: HttpClient;
  /** CPU time of the calling thread in microseconds; only differences mean something. */
  threadCpuMicros(): number;
  /** Times short stretches of this thread's work; absent where CPU time is not real. */
  readonly cpu?: CpuSegments;
  /** CPU time of the process in microseconds. */
  processCpuMicros(): number;
  /**
   * Time in which this thread's event loop ran, in milliseconds, waiting for a core included: what is left of it is what
   * others on the loop need not wait for. Only differences mean something.
   */
  loopBusyMs(): number;
}

/** Resolves after `delayMs` of the given clock. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}

/** A short id, unique enough for a process or a migration: ten base-32 digits of the given stream. */
export function randomId(random: Random): string {
  let id = '';
  for (let i = 0; i < 10; i++) id += '0123456789abcdefghjkmnpqrstvwxyz'[Math.floor(random.next() * 32)];
  return id;
}
