/**
 * Copies at this node give way to its requests: the driver of {@link CopyRoom}. Every bulk copy, in or out, is begun here,
 * works in slices that rest as the room says, and is told how many bytes a second it may carry.
 *
 * Boundary: it moves no byte and knows no shard. Invariant: one stretch of work gives way for {@link GIVE_WAY_MS_MAX}, far
 * below any time-out of a migration; then it goes on as if it were alone.
 */
import type { Io } from '../io/io.ts';
import { SLICE_MS_MAX } from '../shard/limits.ts';
import type { Slicer } from '../shard/snapshot.ts';
import { CopyRoom } from './copy-room.ts';

/** So long after its beginning a stretch of work (encoding, opening) that shows no progress meanwhile gives way. */
export const GIVE_WAY_MS_MAX = 6_000;

/** Slices of one stretch of work; ended when the work is done, so that the last slice is counted. */
export interface CountedSlicer extends Slicer {
  end(): void;
}

/** One copy under way at this node. */
export interface Copy {
  /** For one stretch of work, which begins now. */
  slicer(): CountedSlicer;
  /** So many bytes went in or out, and took the loop so long. */
  carried(bytes: number, ms: number): void;
  /** What it may carry now, for this node's part; infinite where it need not give way. */
  bytesPerSecond(): number;
  /** Idempotent. */
  end(): void;
}

export class Copying {
  readonly room = new CopyRoom();
  readonly #io: Pick<Io, 'clock' | 'loopBusyMs'>;

  constructor(io: Pick<Io, 'clock' | 'loopBusyMs'>) {
    this.#io = io;
  }

  /** Some times a second, copies or not: the room is known when one begins. */
  look(): void {
    this.room.looked(this.#io.clock.monotonicMs(), this.#io.loopBusyMs());
  }

  /** `urgent`: it is counted, and gives way to nobody. */
  begin(options: { urgent: boolean }): Copy {
    const { clock } = this.#io;
    const { room } = this;
    let ended = false;
    room.began();
    return {
      slicer: () => this.#slicer(options.urgent),
      carried: (bytes, ms) => room.carried(bytes, ms),
      bytesPerSecond: () =>
        options.urgent ? Number.POSITIVE_INFINITY : room.bytesPerSecond(clock.monotonicMs()),
      end: () => {
        if (!ended) room.ended();
        ended = true;
      },
    };
  }

  #slicer(urgent: boolean): CountedSlicer {
    const { clock } = this.#io;
    const { room } = this;
    let sliceStartMs = clock.monotonicMs();
    const untilMs = urgent ? sliceStartMs : sliceStartMs + GIVE_WAY_MS_MAX;
    const sliceMs = (nowMs: number) => {
      const tookMs = nowMs - sliceStartMs;
      room.worked(tookMs);
      sliceStartMs = nowMs;
      return tookMs;
    };
    return {
      monotonicMs: () => clock.monotonicMs(),
      defer: (run) => {
        const nowMs = clock.monotonicMs();
        const workedMs = sliceMs(nowMs);
        const restMs = nowMs < untilMs ? room.restMs(workedMs, SLICE_MS_MAX, nowMs) : SLICE_MS_MAX;
        clock.setTimer(restMs, () => {
          sliceStartMs = clock.monotonicMs();
          run();
        });
      },
      end: () => {
        sliceMs(clock.monotonicMs());
      },
    };
  }
}
