import { describe, expect, it } from 'vitest';
import type { CopiesWork } from '../model/load.ts';
import { BYTES_MIN, CPU_SECONDS_PER_GB_MAX, MoveCpu } from './move-cpu.ts';

const NODES = new Set(['a', 'b', 'c']);
const MB = 1e6;

/** Sums of a node: megabytes and core-seconds, in and out. */
const sums = (inMb: number, inCpu: number, outMb = 0, outCpu = 0): CopiesWork => ({
  in: { bytes: inMb * MB, cpuSeconds: inCpu },
  out: { bytes: outMb * MB, cpuSeconds: outCpu },
});

/** What is known after one node reported these sums, one after the other. */
function knownAfter(...reports: unknown[]): number | undefined {
  const moveCpu = new MoveCpu();
  for (const copies of reports) moveCpu.observe([{ source: 'a', copies: copies as CopiesWork }], NODES);
  return moveCpu.cpuSecondsPerGb;
}

describe('the CPU of a move’s bytes', () => {
  it('is not known while nodes tell nothing, as those of older builds do, or have carried nothing', () => {
    expect(knownAfter()).toBeUndefined();
    expect(knownAfter(undefined, undefined)).toBeUndefined();
    expect(knownAfter(sums(0, 0), sums(0, 0))).toBeUndefined();
  });

  it('is of one end: the mean of what sources and targets took, of the end that was heard alone otherwise', () => {
    expect(knownAfter(sums(100, 1.2, 200, 0.8))).toBeCloseTo((12 + 4) / 2);
    expect(knownAfter(sums(100, 1.2))).toBeCloseTo(12);
    const moveCpu = new MoveCpu();
    moveCpu.observe([{ source: 'a', copies: sums(0, 0, 100, 0.4) }, { source: 'b' }], NODES);
    expect(moveCpu.cpuSecondsPerGb).toBeCloseTo(4);
  });

  it('is made of enough bytes only, over as many reports and nodes as that takes', () => {
    expect(knownAfter(sums(BYTES_MIN / MB - 1, 1))).toBeUndefined();
    const moveCpu = new MoveCpu();
    moveCpu.observe([{ source: 'a', copies: sums(6, 0.06) }], NODES);
    moveCpu.observe([{ source: 'a', copies: sums(6, 0.06) }], NODES);
    expect(moveCpu.cpuSecondsPerGb).toBeUndefined();
    moveCpu.observe([{ source: 'b', copies: sums(6, 0.03) }], NODES);
    moveCpu.observe([{ source: 'a', copies: sums(12, 0.12) }], NODES);
    expect(moveCpu.cpuSecondsPerGb).toBeCloseTo((0.12 + 0.03) / 0.018);
  });

  it('follows what comes, smoothed, and stays as it is while nothing does', () => {
    expect(knownAfter(sums(100, 1), sums(200, 3))).toBeCloseTo(10 + 0.3 * 10);
    expect(knownAfter(sums(100, 1), sums(100, 1), sums(100, 1))).toBeCloseTo(10);
    const moveCpu = new MoveCpu();
    moveCpu.observe([{ source: 'a', copies: sums(100, 1) }], NODES);
    // It is gone, and its successor has carried nothing yet.
    moveCpu.observe([], new Set(['b']));
    expect(moveCpu.cpuSecondsPerGb).toBeCloseTo(10);
  });

  it('is known at the first report where a controller begins to lead a cluster that has moved states', () => {
    const before = new MoveCpu();
    const successor = new MoveCpu();
    before.observe([{ source: 'a', copies: sums(50, 0.5) }], NODES);
    successor.observe([{ source: 'a', copies: sums(50, 0.5) }], NODES);
    expect(successor.cpuSecondsPerGb).toBe(before.cpuSecondsPerGb);
  });

  it('counts from where sums have gone back to, and takes nothing from that report', () => {
    expect(knownAfter(sums(1000, 10), sums(40, 4))).toBeCloseTo(10);
    expect(knownAfter(sums(1000, 10), sums(40, 4), sums(140, 6))).toBeCloseTo(10 + 0.3 * 10);
    expect(knownAfter(sums(1000, 10), sums(1100, 4))).toBeCloseTo(10);
  });

  it('is not moved by nonsense', () => {
    const good = sums(100, 1);
    const nonsense: unknown[] = [
      sums(Number.NaN, 1),
      sums(200, Number.NaN),
      sums(200, -5),
      sums(-200, 5),
      sums(200, Number.POSITIVE_INFINITY),
      sums(Number.POSITIVE_INFINITY, 0),
      sums(200, 1 + 0.2 * (CPU_SECONDS_PER_GB_MAX + 1)),
      { in: good.in },
      { in: { bytes: '9'.repeat(9), cpuSeconds: [] }, out: null },
      null,
      'copies',
      [],
    ];
    for (const report of nonsense) {
      expect(knownAfter(report), JSON.stringify(report)).toBeUndefined();
      expect(knownAfter(good, report), JSON.stringify(report)).toBeCloseTo(10);
    }
  });

  it('stays within its bounds under one node that lies, and is left by it when others speak', () => {
    const moveCpu = new MoveCpu();
    for (let i = 1; i <= 1_000; i++) {
      const lie = sums(1_000 * i, CPU_SECONDS_PER_GB_MAX * i);
      moveCpu.observe([{ source: 'c', copies: lie }], NODES);
    }
    expect(moveCpu.cpuSecondsPerGb).toBeLessThanOrEqual(CPU_SECONDS_PER_GB_MAX);
    for (let i = 1; i <= 30; i++) moveCpu.observe([{ source: 'a', copies: sums(100 * i, i) }], NODES);
    expect(moveCpu.cpuSecondsPerGb).toBeCloseTo(10, 1);
  });

  it('hears no process that is not of the cluster', () => {
    const moveCpu = new MoveCpu();
    moveCpu.observe([{ source: 'stranger', copies: sums(100, 1) }], NODES);
    expect(moveCpu.cpuSecondsPerGb).toBeUndefined();
  });
});
