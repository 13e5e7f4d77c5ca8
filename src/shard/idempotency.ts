/**
 * What a shard remembers of commands that took effect, so that a retry is answered and not executed again.
 *
 * Client keys: at most {@link WINDOW_KEYS_MAX} or {@link WINDOW_BYTES_MAX}, each for {@link WINDOW_AGE_MS_MAX}; the
 * oldest leave first, and a key whose first sending is not after the newest one forgotten is refused where the client
 * sends its age. Gateway keys are (gateway, number, low-water mark): what is below the mark is forgotten and refused,
 * so that a late duplicate never runs.
 *
 * Invariant: the window is a function of the sequence of `record` calls alone, hence equal after any replay.
 */
import type { IdempotencyKey } from '../model/request.ts';
import { WINDOW_AGE_MS_MAX, WINDOW_BYTES_MAX, WINDOW_GATEWAYS_MAX, WINDOW_KEYS_MAX } from './limits.ts';

export interface Remembered {
  /** Of handler and input: the same key with another body is a mistake. */
  hash: number;
  /** When the command ran, Unix milliseconds. */
  atMs: number;
  /** The delta that holds its effect: a replayed answer waits for its durability. */
  seq: number;
  /** JSON text of what the handler returned. */
  result: string;
}

export type Lookup = Remembered | 'unknown' | 'expired';

/** One remembered command as stored in a snapshot. */
export type WindowRow = [
  key: string,
  gateway: string,
  number: number,
  hash: number,
  atMs: number,
  seq: number,
  result: string,
];

export interface WindowSnapshot {
  rows: WindowRow[];
  marks: [gateway: string, refuseBelow: number][];
  forgottenMs: number;
}

const ENTRY_BYTES = 64;

interface GatewayWindow {
  /** Numbers below are forgotten and refused. */
  refuseBelow: number;
  entries: Map<number, Remembered>;
}

export class IdempotencyWindow {
  /** Made on first use, like the gateways' map: most shards see one kind of key. */
  #clients: Map<string, Remembered> | undefined;
  #gateways: Map<string, GatewayWindow> | undefined;
  #clientBytes = 0;
  #gatewayBytes = 0;
  #gatewayCount = 0;
  /** The newest command whose client key was forgotten ran at this time. */
  #forgottenMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return (this.#clients?.size ?? 0) + this.#gatewayCount;
  }

  /** `ageMs`: how long ago the client first sent the key, where it says so. */
  lookup(key: IdempotencyKey, nowMs: number, ageMs: number | undefined): Lookup {
    if (key.kind === 'client') {
      const found = this.#clients?.get(key.key);
      if (found !== undefined && nowMs - found.atMs <= WINDOW_AGE_MS_MAX) return found;
      if (ageMs === undefined) return 'unknown';
      return ageMs > WINDOW_AGE_MS_MAX || nowMs - ageMs <= this.#forgottenMs ? 'expired' : 'unknown';
    }
    const window = this.#gateways?.get(key.gateway);
    if (window === undefined) return 'unknown';
    return window.entries.get(key.number) ?? (key.number < window.refuseBelow ? 'expired' : 'unknown');
  }

  record(key: IdempotencyKey, entry: Remembered): void {
    if (key.kind === 'client') {
      this.#clients ??= new Map();
      const old = this.#clients.get(key.key);
      if (old !== undefined) this.#forgetClient(key.key, old);
      this.#clients.set(key.key, entry);
      this.#clientBytes += ENTRY_BYTES + key.key.length + entry.result.length;
      for (const [oldest, remembered] of this.#clients) {
        const fits = this.#clients.size <= WINDOW_KEYS_MAX && this.#clientBytes <= WINDOW_BYTES_MAX;
        if ((fits && entry.atMs - remembered.atMs <= WINDOW_AGE_MS_MAX) || remembered === entry) break;
        this.#forgetClient(oldest, remembered);
        this.#forgottenMs = Math.max(this.#forgottenMs, remembered.atMs);
      }
      return;
    }
    this.#gateways ??= new Map();
    let window = this.#gateways.get(key.gateway);
    if (window === undefined) window = { refuseBelow: 0, entries: new Map() };
    // Last used, last out: the gateway forgotten when there are too many is the one silent for longest.
    else this.#gateways.delete(key.gateway);
    this.#gateways.set(key.gateway, window);
    this.#addGatewayEntry(window, key.number, entry);
    if (key.lowWater > window.refuseBelow) {
      window.refuseBelow = key.lowWater;
      for (const [number, remembered] of window.entries) {
        if (number >= key.lowWater) break;
        this.#forgetGatewayEntry(window, number, remembered);
      }
    }
    this.#boundGateways(entry);
  }

  /** Makes room from the gateway silent for longest on; what is forgotten raises the mark, so it is refused. */
  #boundGateways(newest: Remembered): void {
    const gateways = this.#gateways!;
    for (const [name, window] of gateways) {
      if (this.#gatewayCount <= WINDOW_KEYS_MAX && this.#gatewayBytes <= WINDOW_BYTES_MAX) break;
      for (const [number, remembered] of window.entries) {
        if (this.#gatewayCount <= WINDOW_KEYS_MAX && this.#gatewayBytes <= WINDOW_BYTES_MAX) break;
        if (remembered === newest) break;
        this.#forgetGatewayEntry(window, number, remembered);
        window.refuseBelow = Math.max(window.refuseBelow, number + 1);
      }
      if (gateways.size > WINDOW_GATEWAYS_MAX && window.entries.size === 0) gateways.delete(name);
    }
    for (const [name, window] of gateways) {
      if (gateways.size <= WINDOW_GATEWAYS_MAX) break;
      for (const [number, remembered] of window.entries) this.#forgetGatewayEntry(window, number, remembered);
      gateways.delete(name);
    }
  }

  #addGatewayEntry(window: GatewayWindow, number: number, entry: Remembered): void {
    const old = window.entries.get(number);
    if (old !== undefined) this.#forgetGatewayEntry(window, number, old);
    window.entries.set(number, entry);
    this.#gatewayCount++;
    this.#gatewayBytes += ENTRY_BYTES + entry.result.length;
  }

  #forgetClient(key: string, entry: Remembered): void {
    this.#clients!.delete(key);
    this.#clientBytes -= ENTRY_BYTES + key.length + entry.result.length;
  }

  #forgetGatewayEntry(window: GatewayWindow, number: number, entry: Remembered): void {
    window.entries.delete(number);
    this.#gatewayCount--;
    this.#gatewayBytes -= ENTRY_BYTES + entry.result.length;
  }

  /** Everything remembered of deltas up to `throughSeq`, oldest first. */
  toSnapshot(throughSeq: number): WindowSnapshot {
    const rows: WindowRow[] = [];
    const marks: WindowSnapshot['marks'] = [];
    for (const [key, e] of this.#clients ?? []) {
      if (e.seq <= throughSeq) rows.push([key, '', 0, e.hash, e.atMs, e.seq, e.result]);
    }
    for (const [gateway, window] of this.#gateways ?? []) {
      marks.push([gateway, window.refuseBelow]);
      for (const [number, e] of window.entries) {
        if (e.seq <= throughSeq) rows.push(['', gateway, number, e.hash, e.atMs, e.seq, e.result]);
      }
    }
    return { rows, marks, forgottenMs: this.#forgottenMs };
  }

  static fromSnapshot(snapshot: WindowSnapshot): IdempotencyWindow {
    const window = new IdempotencyWindow();
    window.#forgottenMs = snapshot.forgottenMs;
    for (const [gateway, refuseBelow] of snapshot.marks) {
      window.#gateways ??= new Map();
      window.#gateways.set(gateway, { refuseBelow, entries: new Map() });
    }
    for (const [key, gateway, number, hash, atMs, seq, result] of snapshot.rows) {
      const entry = { hash, atMs, seq, result };
      if (gateway === '') {
        window.#clients ??= new Map();
        window.#clients.set(key, entry);
        window.#clientBytes += ENTRY_BYTES + key.length + result.length;
      } else {
        window.#addGatewayEntry(window.#gateways!.get(gateway)!, number, entry);
      }
    }
    return window;
  }
}

/** 32-bit FNV-1a of a handler's name and the input's bytes: enough to tell a caller's mistake. */
export function requestHash(handler: string, input: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < handler.length; i++) hash = Math.imul(hash ^ handler.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ 0xff, 0x01000193);
  for (let i = 0; i < input.length; i++) hash = Math.imul(hash ^ input[i]!, 0x01000193);
  return hash >>> 0;
}
