import { describe, expect, it } from 'vitest';
import { CpuSegments, EXACT_FROM_MICROS, REFERENCE_MS_MAX, threadCpuMicros } from './cpu-segments.ts';

/** Clocks that move as told: the thread works, waits for a core, or idles. */
class Thread {
  nowMs = 1_000;
  cpuMicros = 5_000;
  readings = 0;
  monotonicMs = () => this.nowMs;
  threadCpuMicros = () => {
    this.readings++;
    return this.cpuMicros;
  };
  work(micros: number): void {
    this.cpuMicros += micros;
    this.nowMs += micros / 1000;
  }
  wait(micros: number): void {
    this.nowMs += micros / 1000;
  }
}

function measured(expectedMicros: number, run: (thread: Thread) => void, before = (_: Thread) => {}): number {
  const thread = new Thread();
  const segments = new CpuSegments(thread);
  segments.begin(0);
  segments.end();
  before(thread);
  segments.begin(expectedMicros);
  run(thread);
  return segments.end();
}

describe('a stretch of work', () => {
  it('is charged its wall time where it is short, without asking the CPU clock', () => {
    const thread = new Thread();
    const segments = new CpuSegments(thread);
    segments.begin(0);
    segments.end();
    const { readings } = thread;
    for (let i = 0; i < 20; i++) {
      segments.begin(5);
      thread.work(5);
      expect(segments.end()).toBeCloseTo(5);
      expect(segments.wallMs).toBeCloseTo(0.005);
    }
    expect(thread.readings).toBe(readings);
  });

  it('is charged its CPU time where it is long, whatever it waited', () => {
    const run = (thread: Thread) => {
      thread.work(700);
      thread.wait(4_000);
      thread.work(300);
    };
    expect(measured(EXACT_FROM_MICROS, run)).toBeCloseTo(1_000);
  });

  it('is charged what is usual where it is short and lost its core', () => {
    const run = (thread: Thread) => {
      thread.work(3);
      thread.wait(4_000);
      thread.work(2);
    };
    expect(measured(5, run)).toBeCloseTo(5);
    expect(measured(5, run, (thread) => thread.work(150))).toBeCloseTo(5);
    expect(measured(5, run, (thread) => thread.wait(150))).toBeCloseTo(5);
  });

  it('is charged in full where it is far longer than usual and never waited', () => {
    expect(measured(5, (thread) => thread.work(3_000))).toBeCloseTo(3_000);
    expect(
      measured(
        5,
        (thread) => thread.work(3_000),
        (thread) => thread.work(150),
      ),
    ).toBeCloseTo(3_000);
  });

  it('that is longer than usual and waited as well is charged right but for the age of the reference', () => {
    const run = (thread: Thread) => {
      thread.work(3_000);
      thread.wait(4_000);
    };
    for (const before of [(t: Thread) => t.work(150), (t: Thread) => t.wait(150)]) {
      const micros = measured(5, run, before);
      expect(Math.abs(micros - 3_000)).toBeLessThanOrEqual(REFERENCE_MS_MAX * 1_000);
    }
  });

  it('ends once', () => {
    const segments = new CpuSegments(new Thread());
    expect(segments.end()).toBe(0);
  });
});

describe('an asynchronous call', () => {
  it('is followed through its awaits, apart from others', async () => {
    const thread = new Thread();
    const segments = new CpuSegments(thread);
    const used = { a: 0, b: 0 };
    const call = async (micros: number) => {
      await null;
      thread.work(micros);
      await new Promise((resolve) => setImmediate(resolve));
      thread.work(micros);
      await Promise.all([1, 2].map(async () => thread.work(0)));
      const inner = async () => {
        await null;
        thread.work(micros);
      };
      await inner();
      return micros;
    };
    const owner = (name: 'a' | 'b') => ({
      expectedMicros: 0,
      usedCpu: (micros: number) => {
        used[name] += micros;
      },
    });
    const results = await Promise.all([
      segments.follow(owner('a'), call, 1_000),
      segments.follow(owner('b'), call, 10),
      call(50_000),
    ]);
    expect(results).toEqual([1_000, 10, 50_000]);
    expect(used.a).toBeCloseTo(3_000);
    expect(used.b).toBeCloseTo(30);
  });
});

it("the thread's CPU clock moves with the work, between scheduler ticks too", () => {
  const readings = new Set<number>();
  for (let i = 0; i < 2_000; i++) readings.add(threadCpuMicros());
  expect(readings.size).toBeGreaterThan(100);
});
