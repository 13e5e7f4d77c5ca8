/**
 * How much of a node's event loop copies may take just now, and what that makes of one copy: rests between slices of
 * its work, bytes a second. The rule is `model/copy-pace.ts`; this measures what the rule asks for.
 *
 *   busy - copying, over a second  = requests ->  copyShareOf  -> what copies may take together, divided over them
 *   the same, over three seconds >= COPY_ROOM_SHARE -> relief: for a while copies go at full speed
 *
 * Pure: times and measurements are handed in. Invariants: a copy rests no longer than {@link REST_MS_MAX} at a time;
 * without a measurement it is paced as on an idle node.
 */
import { COPY_ROOM_SHARE, COPY_SHARE_MIN, copyShareOf } from '../model/copy-pace.ts';

/** What requests take is what they took over so long. */
export const WINDOW_MS = 1_000;
/**
 * Requests fill the node where they did for so long: over one second alone, chance brings a node that is three quarters full
 * there every minute.
 */
export const RELIEF_WINDOW_MS = 3_000;
/**
 * So long copies then go at full speed before it is asked again. Meanwhile it cannot be: of a loop that is full, requests get
 * what copies leave.
 */
export const RELIEF_MS = 5_000;
/** Shorter stretches of measurement say nothing. */
const SPAN_MS_MIN = 200;
/** After this the room is looked at again. */
export const REST_MS_MAX = 200;
/** What a byte costs is assumed until it is measured: 256 MB a second of CPU ... */
const START_BYTES = 4 * 1024 * 1024;
const START_MS = 16;
/** ... and then learnt over about so much of it: older measurements count half each time. */
const LEARN_MS = 64;

interface Look {
  atMs: number;
  busyMs: number;
  copyMs: number;
}

/** @example room.looked(nowMs, busyMs); room.restMs(2, 2, nowMs) */
export class CopyRoom {
  /** Oldest first, back to {@link RELIEF_WINDOW_MS}. */
  readonly #looks: Look[] = [];
  #copyMs = 0;
  #copies = 0;
  #requestShare = 0;
  #reliefUntilMs = Number.NEGATIVE_INFINITY;
  #carriedBytes = START_BYTES;
  #carriedMs = START_MS;

  /** Of the loop's time, what requests took lately. */
  get requestShare(): number {
    return this.#requestShare;
  }

  /** Copies under way here, in and out. */
  get copies(): number {
    return this.#copies;
  }

  /** Time of the loop that copying has taken so far. */
  get copyMs(): number {
    return this.#copyMs;
  }

  began(): void {
    this.#copies++;
  }

  ended(): void {
    this.#copies--;
  }

  /** Copying took the loop for so long. */
  worked(ms: number): void {
    this.#copyMs += Math.max(0, ms);
  }

  /** The same, for bytes that went in or out: what a byte costs is learnt from it. */
  carried(bytes: number, ms: number): void {
    this.worked(ms);
    this.#carriedBytes += bytes;
    this.#carriedMs += Math.max(0, ms);
    if (this.#carriedMs < LEARN_MS) return;
    this.#carriedBytes /= 2;
    this.#carriedMs /= 2;
  }

  /** @param busyMs time in which the loop ran so far, copying included */
  looked(nowMs: number, busyMs: number): void {
    const looks = this.#looks;
    looks.push({ atMs: nowMs, busyMs, copyMs: this.#copyMs });
    while (looks.length > 1 && looks[1]!.atMs <= nowMs - RELIEF_WINDOW_MS) looks.shift();
    const lately = this.#since(nowMs - WINDOW_MS);
    if (lately === undefined) return;
    this.#requestShare = lately.requestShare;
    if (nowMs < this.#reliefUntilMs) {
      // A loop with time to spare tells what requests want: relief may end at once.
      if (lately.busyShare < COPY_ROOM_SHARE) this.#reliefUntilMs = nowMs;
      return;
    }
    const long = nowMs - looks[0]!.atMs >= RELIEF_WINDOW_MS && this.#since(nowMs - RELIEF_WINDOW_MS);
    if (!long || long.requestShare < COPY_ROOM_SHARE) return;
    this.#reliefUntilMs = nowMs + RELIEF_MS;
    // What was measured under relief would say that requests are few.
    looks.splice(0, looks.length - 1);
  }

  /** Requests alone fill the node: what copies take now is soon given back. */
  isRelief(nowMs: number): boolean {
    return nowMs < this.#reliefUntilMs;
  }

  /** What all copies may take together, 0 to 1. */
  share(nowMs: number): number {
    if (this.isRelief(nowMs)) return 1;
    return this.#requestShare < COPY_ROOM_SHARE ? copyShareOf(this.#requestShare) : COPY_SHARE_MIN;
  }

  /** How long one copy rests after a slice of so much work; at least `restMsMin`. */
  restMs(workedMs: number, restMsMin: number, nowMs: number): number {
    if (this.isRelief(nowMs)) return restMsMin;
    const own = this.share(nowMs) / Math.max(1, this.#copies);
    return Math.max(restMsMin, Math.min(REST_MS_MAX, workedMs / own - workedMs));
  }

  /** What one copy may bring in or send out; unlimited under relief. */
  bytesPerSecond(nowMs: number): number {
    if (this.isRelief(nowMs)) return Number.POSITIVE_INFINITY;
    const own = this.share(nowMs) / Math.max(1, this.#copies);
    return (own * this.#carriedBytes * 1_000) / Math.max(1e-3, this.#carriedMs);
  }

  #since(fromMs: number): { busyShare: number; requestShare: number } | undefined {
    const looks = this.#looks;
    const now = looks.at(-1)!;
    // The last one before the window's beginning, so that it is no shorter.
    let first = looks[0]!;
    for (const look of looks) if (look.atMs <= fromMs) first = look;
    const spanMs = now.atMs - first.atMs;
    if (spanMs < SPAN_MS_MIN) return undefined;
    const busyMs = now.busyMs - first.busyMs;
    return {
      busyShare: busyMs / spanMs,
      requestShare: Math.max(0, busyMs - (now.copyMs - first.copyMs)) / spanMs,
    };
  }
}
