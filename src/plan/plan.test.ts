import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flatForecast } from '../forecast/index.ts';
import type { PlacementNode, PlacementShard } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { CPU_SHARE_MAX } from '../placement/constraints/capacity.ts';
import { createPlacer, horizonsFor, type PlacementInput } from '../placement/index.ts';
import { laterMove, valueByRegion } from '../placement/shard-value.ts';
import { queueing } from '../placement/solver/objective.ts';
import { MoveLedger, makePlan, repairLost } from './index.ts';

const REGIONS = AWS_THREE_REGIONS.regions;
const nodes: PlacementNode[] = REGIONS.flatMap((region) =>
  [1, 2].map((n) => ({
    processId: `${region}-n${n}`,
    name: `${region}-n${n}`,
    region,
    zone: `${region}-${n}`,
    capacity: { cpu: 0.5, memoryBytes: 1e9, networkBytesPerSecond: 1e9 },
    usdPerHour: 0.1,
    open: true,
    draining: false,
    versions: { room: 1 },
  })),
);

interface Drawn {
  on: number;
  rates: number[];
  allowed: number;
  pinned: boolean;
  version: number;
  flying: number;
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  on: fc.integer({ min: 0, max: 5 }),
  rates: fc.array(fc.double({ min: 0, max: 60, noNaN: true }), { minLength: 3, maxLength: 3 }),
  allowed: fc.integer({ min: 0, max: 7 }),
  pinned: fc.boolean(),
  version: fc.constantFrom(1, 1, 1, 2),
  flying: fc.integer({ min: 0, max: 40 }),
});

function toShard(d: Drawn, i: number): PlacementShard {
  const horizonsS = horizonsFor(2);
  const byOrigin = Object.fromEntries(
    REGIONS.map((region, o) => [
      region,
      { commands: horizonsS.map(() => 0.3 * d.rates[o]!), queries: horizonsS.map(() => 0.7 * d.rates[o]!) },
    ]),
  );
  const shard = `room/k${i}`;
  return {
    shard,
    primary: nodes[d.on]!.processId,
    cell: `cell-${nodes[d.on]!.region}`,
    epoch: 3,
    forecast: flatForecast(shard, horizonsS, byOrigin, {
      cpuSeconds: 0.0005,
      bytesIn: 1,
      bytesOut: 1,
      stateBytes: 1000,
      windowS: 1,
    }),
    stateBytes: 1000,
    writeBytesPerSecond: 10,
    bytesPerRequest: 500,
    version: d.version,
    allowedRegions: d.allowed === 0 ? undefined : REGIONS.filter((_, o) => (d.allowed >> o) & 1),
    pinnedTo: d.pinned && i % 7 === 0 ? nodes[d.on]!.processId : undefined,
    inFlightTo: d.flying < 6 && d.flying !== d.on ? nodes[d.flying]!.processId : undefined,
  };
}

function inputOf(shards: PlacementShard[], some: Partial<PlacementInput> = {}): PlacementInput {
  return {
    nodes,
    shards,
    topology: AWS_THREE_REGIONS,
    cells: Object.fromEntries(REGIONS.map((region) => [region, `cell-${region}`])),
    ...some,
  };
}

const plan = (input: PlacementInput) =>
  makePlan({
    placement: createPlacer().place(input),
    inFlight: [],
    epochOf: () => 3,
    parent: 7,
    atMs: 0,
  });

/** Dollars a second of three regions in four intervals. */
const rates = fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { minLength: 12, maxLength: 12 });

describe('placement, on random clusters', () => {
  const clusters = fc.array(drawn, { minLength: 1, maxLength: 40 }).map((all) => all.map(toShard));

  it('breaks no hard constraint by a move, and leaves alone what is in flight', () => {
    fc.assert(
      fc.property(clusters, (shards) => {
        const { relocations } = createPlacer().place(inputOf(shards));
        for (const { shard, target, cell } of relocations) {
          const moved = shards.find((s) => s.shard === shard)!;
          const node = nodes.find((n) => n.processId === target)!;
          expect(moved.inFlightTo).toBeUndefined();
          expect(moved.allowedRegions ?? REGIONS).toContain(node.region);
          expect(moved.version).toBe(1);
          if (moved.pinnedTo !== undefined) expect(target).toBe(moved.pinnedTo);
          expect(cell).toBe(`cell-${node.region}`);
        }
      }),
    );
  });

  it('lowers the objective, is deterministic, and stands still once its target is reached', () => {
    fc.assert(
      fc.property(clusters, (shards) => {
        let now = shards.map((shard) => ({ ...shard, inFlightTo: undefined }));
        const first = createPlacer().place(inputOf(now));
        expect(createPlacer().place(inputOf(now))).toEqual(first);
        for (let i = 0; i < 8; i++) {
          const { target, relocations } = createPlacer().place(inputOf(now));
          if (relocations.length === 0) return;
          now = now.map((shard) => ({ ...shard, primary: target.get(shard.shard)! }));
        }
        expect(createPlacer().place(inputOf(now)).relocations).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('fills no node at p90 by moving', () => {
    const shards = Array.from({ length: 60 }, (_, i) =>
      toShard({ on: 4, rates: [40, 0, 0], allowed: 0, pinned: false, version: 1, flying: 40 }, i),
    );
    const { target, blocked } = createPlacer().place(inputOf(shards));
    const used = new Map<string, number>();
    for (const shard of shards) {
      const at = target.get(shard.shard)!;
      used.set(at, (used.get(at) ?? 0) + shard.forecast.metrics.cpu.quantiles[0][0]!);
    }
    for (const node of nodes.filter(({ processId }) => processId !== nodes[4]!.processId))
      expect(used.get(node.processId) ?? 0).toBeLessThanOrEqual(CPU_SHARE_MAX * node.capacity.cpu);
    expect(blocked.capacity ?? 0).toBeGreaterThanOrEqual(0);
  });

  it('prices a node’s queue as a convex, growing cost', () => {
    let slope = 0;
    for (let load = 0.01; load < 2; load += 0.01) {
      const rise = queueing(load) - queueing(load - 0.01);
      expect(rise).toBeGreaterThanOrEqual(slope - 1e-12);
      slope = rise;
    }
  });

  it('values a region as the best path of later moves does, found by trying all', () => {
    fc.assert(
      fc.property(rates, fc.double({ min: 0, max: 10, noNaN: true }), (all, again) => {
        const intervals = [1, 2, 1, 3];
        const values = new Float64Array(3);
        valueByRegion(Float64Array.from(all), 3, intervals, again, values);
        const best = (region: number, h: number): number => {
          const here = all[region * 4 + h]! * intervals[h]!;
          if (h === 3) return here;
          return here + Math.min(...[0, 1, 2].map((r) => (r === region ? 0 : again) + best(r, h + 1)));
        };
        for (let r = 0; r < 3; r++) expect(values[r]).toBeCloseTo(best(r, 0), 9);
        // A move that is done in the third interval: nothing can be changed before, and later moves are done after it.
        valueByRegion(Float64Array.from(all), 3, intervals, again, values, { first: 2 });
        for (let r = 0; r < 3; r++) {
          const until = all[r * 4]! * intervals[0]! + all[r * 4 + 1]! * intervals[1]!;
          expect(values[r]).toBeCloseTo(until + best(r, 2), 9);
        }
      }),
    );
  });

  it('names the move it counts on: staying until then and going on from there costs what staying is worth', () => {
    let named = 0;
    fc.assert(
      fc.property(
        rates,
        fc.double({ min: 0, max: 10, noNaN: true }),
        fc.constantFrom(0, 1, 2),
        (all, again, first) => {
          const intervals = [1, 2, 1, 3];
          const values = new Float64Array(3);
          valueByRegion(Float64Array.from(all), 3, intervals, again, values, { first });
          const best = (region: number, h: number): number => {
            const here = all[region * 4 + h]! * intervals[h]!;
            if (h === 3) return here;
            return here + Math.min(...[0, 1, 2].map((r) => (r === region ? 0 : again) + best(r, h + 1)));
          };
          const until = (h: number) =>
            intervals.slice(0, h).reduce((sum, seconds, i) => sum + seconds * all[i]!, 0);
          const move = laterMove(Float64Array.from(all), 3, intervals, again, 0, values, { first });
          if (move === undefined) {
            expect(values[0]).toBeCloseTo(until(4), 6);
            return;
          }
          named++;
          expect(move.step).toBeGreaterThan(first);
          expect(until(move.step) + again + best(move.region, move.step)).toBeCloseTo(values[0]!, 6);
          expect(move.gainUsd).toBeCloseTo(until(4) - values[0]!, 9);
          expect(move.earlyUsd).toBeCloseTo(values[move.region]! + again - values[0]!, 9);
        },
      ),
    );
    expect(named).toBeGreaterThan(10);
  });
});

describe('a plan', () => {
  const away = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      toShard({ on: 0, rates: [0, 0, 1 + (i % 9)], allowed: 0, pinned: false, version: 1, flying: 40 }, i),
    );

  it('starts some early of what many need at one moment, as many as the budgets ask for and no more', () => {
    // Their users are in us until 7 s from now and in ap from then on; a little more is lost by going at once than by waiting.
    const shards = Array.from({ length: 60 }, (_, i) => {
      const horizonsS = horizonsFor(2);
      const origin = (rate: (at: number) => number) => ({
        commands: horizonsS.map(() => 0),
        queries: horizonsS.map(rate),
      });
      const some = toShard({ on: 0, rates: [0, 0, 0], allowed: 0, pinned: false, version: 1, flying: 40 }, i);
      const byOrigin = {
        [REGIONS[0]!]: origin((at) => (at < 7 ? 0.02 : 0)),
        [REGIONS[2]!]: origin((at) => (at < 7 ? 0 : 1)),
      };
      const profile = { cpuSeconds: 0.0005, bytesIn: 1, bytesOut: 1, stateBytes: 100, windowS: 10 };
      return { ...some, forecast: flatForecast(some.shard, horizonsS, byOrigin, profile) };
    });
    const placement = createPlacer().place(inputOf(shards));
    expect(placement.relocations).toEqual([]);
    expect(placement.upcoming).toHaveLength(60);
    // They should be done at 8 s and take 2: starts at 0 to 6 s are in time.
    const startedNow = (startedPerTick: number) =>
      makePlan({
        placement,
        inFlight: [],
        epochOf: () => 3,
        parent: 7,
        atMs: 0,
        budgets: { startedPerTick },
      });
    expect(startedNow(24).plan).toBeUndefined();
    expect(startedNow(9).plan!.moves).toHaveLength(60 - 6 * 9);
    expect(startedNow(9).plan!.moves[0]!.reason.text).toMatch(/from 8 s on .* some start early/);
    expect(startedNow(7).plan!.moves).toHaveLength(7);
    expect(startedNow(7).plan!.later!.filter(({ late }) => late)).toHaveLength(60 - 7 * 7);
  });

  it('is immutable, names its parent, and carries epochs, cells and reasons', () => {
    const { plan: made } = plan(inputOf(away(3)));
    expect(made).toMatchObject({ generation: 8, parent: 7 });
    expect(Object.isFrozen(made) && Object.isFrozen(made!.moves) && Object.isFrozen(made!.moves[0])).toBe(
      true,
    );
    expect(made!.moves[0]).toMatchObject({ epoch: 3, cell: 'cell-ap-northeast-1', priority: 'improve' });
    expect(made!.moves[0]!.reason.text).toMatch(/wait 1 ms instead of 169 ms/);
  });

  it('takes the highest gain first and keeps every budget, counting what is in flight', () => {
    const placement = createPlacer().place(inputOf(away(60)));
    const inFlight = Array.from({ length: 5 }, (_, i) => ({
      shard: `room/k${i}`,
      source: nodes[0]!.processId,
      target: nodes[2]!.processId,
      bytes: 1000,
    }));
    const result = makePlan({
      placement,
      inFlight,
      epochOf: () => 3,
      parent: 0,
      atMs: 0,
      budgets: { startedPerTick: 10, inFlightMax: 12, bytesInFlightMax: 9500 },
    });
    const moves = result.plan!.moves;
    expect(moves).toHaveLength(4);
    expect(result.reason).toMatch(/wait: bytes in flight/);
    const flying = new Set(inFlight.map(({ shard }) => shard));
    const free = placement.relocations.filter(({ shard }) => !flying.has(shard));
    expect(moves.map(({ shard }) => shard)).toEqual(free.slice(0, 4).map(({ shard }) => shard));
  });

  it('says why nothing moves', () => {
    const still = plan(inputOf([]));
    expect(still.plan).toBeUndefined();
    expect(still.reason).toMatch(/^Nothing moves: every shard is where it should be/);
  });

  it('asks of a second move what the first still owes, and no more once that is paid back', () => {
    const ledger = new MoveLedger();
    ledger.moved('room/a', 0, 0.001, { gainUsdPerHour: 3.6, costUsdPerHour: 0.9 });
    expect(ledger.owedUsd('room/a', 0)).toBeCloseTo(0.001);
    expect(ledger.owedUsd('room/a', 500)).toBeCloseTo(0.0005);
    expect(ledger.owedUsd('room/a', 1001)).toBe(0);
    expect(ledger.size).toBe(0);
  });

  it('forgives a move that had to be after the window that it was decided for, however often its node is drained', () => {
    const ledger = new MoveLedger();
    const windowMs = 1000;
    for (let drain = 0; drain < 10; drain++) {
      const costUsd = 0.001 + ledger.owedUsd('room/a', drain);
      ledger.moved('room/a', drain, costUsd, { gainUsdPerHour: -1, costUsdPerHour: 3600 * costUsd });
      expect(ledger.owedUsd('room/a', drain)).toBeLessThanOrEqual(0.001 * (drain + 1));
    }
    expect(ledger.owedUsd('room/a', 9 + windowMs)).toBe(0);
  });
});

describe('repair', () => {
  it('gives every shard of a dead node a healthy node that may take it, or says why none may', () => {
    fc.assert(
      fc.property(fc.array(drawn, { minLength: 1, maxLength: 40 }), (all) => {
        const shards = all.map((d, i) => ({ ...toShard(d, i), inFlightTo: undefined }));
        const left = nodes.filter((_, n) => n > 1);
        const { repairs, stranded } = repairLost(inputOf(shards, { nodes: left }));
        const lost = shards.filter(({ primary }) => !left.some(({ processId }) => processId === primary));
        expect(repairs.length + stranded.length).toBe(lost.length);
        for (const { shard, target } of repairs) {
          const region = left.find(({ processId }) => processId === target)!.region;
          expect(shards.find((s) => s.shard === shard)!.allowedRegions ?? REGIONS).toContain(region);
        }
      }),
    );
  });
});
