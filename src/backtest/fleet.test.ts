/**
 * How many nodes: what is foreseen adds, what is measured keeps, and the risk that is accepted follows the headroom.
 */
import { describe, expect, it } from 'vitest';
import { FleetMemory, nodesFor, providedFor } from './fleet.ts';

const limits = { nodeCpu: 1, nodeMemoryBytes: 100, nodesMin: 1, nodesMax: 50 };
const total = { p50: [10, 10], p90: [12, 10], p99: [20, 10] };

describe('the demand to provide for', () => {
  it('is the p90 at the usual headroom, more for who leaves more of a node free, less for who leaves less', () => {
    expect(providedFor(total, 0.75)[0]).toBeCloseTo(12);
    const demands = [0.2, 0.3, 0.5, 0.75, 0.9, 1].map((headroom) => providedFor(total, headroom)[0]!);
    expect(demands).toEqual(demands.toSorted((a, b) => b - a));
    expect(demands.at(-1)).toBeGreaterThan(10);
    // One in a hundred at a headroom of 0.75 / sqrt(10).
    expect(providedFor(total, 0.75 / Math.sqrt(10))[0]).toBeCloseTo(20);
  });

  it('is the median where nothing is uncertain, and never below it where quantiles cross', () => {
    for (const headroom of [0.2, 0.75, 1]) expect(providedFor(total, headroom)[1]).toBe(10);
    expect(providedFor({ p50: [10], p90: [9], p99: [8] }, 0.3)).toEqual([10]);
  });
});

describe('a fleet', () => {
  const demand = (nowCpu: number, ...aheadCpu: number[]) => ({ nowCpu, aheadCpu, stateBytes: 0 });

  it('grows for what is foreseen, and for what is measured though the forecast says that it will pass', () => {
    const memory = new FleetMemory(600);
    expect(memory.wish(0, demand(1, 1, 6), 0.5, limits).atLeast).toBe(12);
    expect(memory.wish(0, demand(6, 1, 1), 0.5, limits).atLeast).toBe(12);
  });

  it('gives back what was not wanted for a while, and not earlier', () => {
    const memory = new FleetMemory(600);
    memory.wish(0, demand(6, 6), 0.5, limits);
    expect(memory.wish(300, demand(1, 1), 0.5, limits)).toEqual({ atLeast: 2, atMost: 12 });
    expect(memory.wish(900, demand(1, 1), 0.5, limits)).toEqual({ atLeast: 2, atMost: 2 });
  });

  it('holds the state, and keeps to its limits', () => {
    expect(nodesFor(0.1, 1000, 0.5, limits)).toBe(12);
    expect(nodesFor(0, 0, 0.5, limits)).toBe(1);
    expect(nodesFor(1000, 0, 0.5, limits)).toBe(50);
  });
});
