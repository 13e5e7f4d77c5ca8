/**
 * Copies at this node give way to its requests: the driver of {@link CopyRoom}. Every bulk copy, in or out, is begun here,
 * works in slices that rest as the room says, and is told how many bytes a second it may carry. What whole copies took of the
 * CPU is added up, so that the controller knows what a gigabyte costs.
 *
 * Boundary: it moves no byte and knows no shard. Invariant: one stretch of work gives way for {@link GIVE_WAY_MS_MAX}, far
 * below any time-out of a migration; then it goes on as if it were alone.
 *
 * CPU is the thread's, read at both ends of each synchronous stretch, as that of long handlers is (`io/cpu-segments.ts`):
 * stretches here are a slice of 2 ms or a chunk, so two readings are a few percent of the shortest. Waiting for a core is not in it.
 * Caught: encoding, checksums, opening, a chunk's packing and its write, and of receiving what {@link Copy.carrying} makes of
 * checking it. Not caught: garbage collection between stretches, what the socket does after the turn of a write, the copy of a log to
 * another cell, and deltas: they go by the shard's writes, not by its bytes, and each costs much more than its bytes do.
 */
import type { Io } from '../io/io.ts';
import type { CopiesWork } from '../model/load.ts';
import { SLICE_MS_MAX } from '../shard/limits.ts';
import type { Slicer } from '../shard/snapshot.ts';
import { CopyRoom } from './copy-room.ts';

/** So long after its beginning a stretch of work (encoding, opening) that shows no progress meanwhile gives way. */
export const GIVE_WAY_MS_MAX = 6_000;
/** Smaller copies are not added up: what they take has little to do with their bytes. As in `controller/transfer-rate.ts`. */
export const COUNTED_BYTES_MIN = 1_000_000;

type CopyingIo = Pick<Io, 'clock' | 'loopBusyMs' | 'threadCpuMicros'>;

/** Slices of one stretch of work; ended when the work is done, so that the last slice is counted. */
export interface CountedSlicer extends Slicer {
  end(): void;
}

/** One copy under way at this node. */
export interface Copy {
  /** For one stretch of work, which begins now. */
  slicer(): CountedSlicer;
  /**
   * Work that brings bytes in or sends them out begins now, and ends when the result is called with how many they were.
   * `times`: all that they take the loop, in what was seen of it.
   */
  carrying(): (bytes: number, times?: number) => void;
  /** What it may carry now, for this node's part; infinite where it need not give way. */
  bytesPerSecond(): number;
  /** Idempotent. @param wholeBytes of the state, where the work for it is done: a copy that carried all of it is added up */
  end(wholeBytes?: number): void;
}

export class Copying {
  readonly room = new CopyRoom();
  readonly #io: CopyingIo;
  readonly #work = { in: { bytes: 0, cpuMicros: 0 }, out: { bytes: 0, cpuMicros: 0 } };

  constructor(io: CopyingIo) {
    this.#io = io;
  }

  /** @param speed of the node: CPU is normalised by it, as that of shards is */
  work(speed: number): CopiesWork {
    const normal = ({ bytes, cpuMicros }: { bytes: number; cpuMicros: number }) => ({
      bytes,
      cpuSeconds: (cpuMicros / 1e6) * speed,
    });
    return { in: normal(this.#work.in), out: normal(this.#work.out) };
  }

  /** Some times a second, copies or not: the room is known when one begins. */
  look(): void {
    this.room.looked(this.#io.clock.monotonicMs(), this.#io.loopBusyMs());
  }

  /** `urgent`: it is counted, and gives way to nobody. */
  begin({ way, urgent }: { way: keyof CopiesWork; urgent: boolean }): Copy {
    const { clock } = this.#io;
    const { room } = this;
    const own = { bytes: 0, cpuMicros: 0 };
    let ended = false;
    room.began();
    return {
      slicer: () => this.#slicer(urgent, own),
      carrying: () => {
        const startMs = clock.monotonicMs();
        const startMicros = this.#io.threadCpuMicros();
        return (bytes, times = 1) => {
          own.bytes += bytes;
          own.cpuMicros += (this.#io.threadCpuMicros() - startMicros) * times;
          room.carried(bytes, (clock.monotonicMs() - startMs) * times);
        };
      },
      bytesPerSecond: () => (urgent ? Number.POSITIVE_INFINITY : room.bytesPerSecond(clock.monotonicMs())),
      end: (wholeBytes = Number.POSITIVE_INFINITY) => {
        if (ended) return;
        ended = true;
        room.ended();
        if (own.bytes < Math.max(wholeBytes, COUNTED_BYTES_MIN)) return;
        this.#work[way].bytes += own.bytes;
        this.#work[way].cpuMicros += own.cpuMicros;
      },
    };
  }

  #slicer(urgent: boolean, own: { cpuMicros: number }): CountedSlicer {
    const io = this.#io;
    const { clock } = io;
    const { room } = this;
    let sliceStartMs = clock.monotonicMs();
    let sliceStartMicros = io.threadCpuMicros();
    const untilMs = urgent ? sliceStartMs : sliceStartMs + GIVE_WAY_MS_MAX;
    const sliceMs = (nowMs: number) => {
      const tookMs = nowMs - sliceStartMs;
      room.worked(tookMs);
      sliceStartMs = nowMs;
      const nowMicros = io.threadCpuMicros();
      own.cpuMicros += nowMicros - sliceStartMicros;
      sliceStartMicros = nowMicros;
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
          sliceStartMicros = io.threadCpuMicros();
          run();
        });
      },
      end: () => {
        sliceMs(clock.monotonicMs());
      },
    };
  }
}
