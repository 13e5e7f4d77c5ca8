/**
 * The objective against its slow, obvious twin: the twin works from the plain instance, shard by shard, with maps and loops
 * as docs/placement.md states it, and shares no code with the product but the defaults.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProblemBuilder } from '../instance/build.ts';
import { generateInstance } from '../instance/generate.ts';
import { DEFAULT_WEIGHTS, type InstanceHeader, type InstanceShard } from '../instance/types.ts';
import { costOf } from './objective.ts';
import { State } from './state.ts';

function twin(header: InstanceHeader, shards: InstanceShard[], placed: (number | undefined)[][]): number {
  const w = { ...DEFAULT_WEIGHTS, ...header.weights };
  const { nodes, regions, steps } = header;
  const at = (name: string) => regions.indexOf(name);
  const regionOf = (n: number) => at(nodes[n]!.region);
  const cellOf = (r: number) =>
    header.cells
      .map(({ region }) => at(region))
      .reduce((best, cell) => (header.rttMs[r]![cell]! < header.rttMs[r]![best]! ? cell : best));
  const weight = (t: number) =>
    header.stepWeights === undefined
      ? 1 / steps
      : header.stepWeights[t]! / header.stepWeights.reduce((a, b) => a + b, 0);
  let usd = 0;
  const used = new Set<number>();
  const loads = nodes.map(() =>
    Array.from({ length: steps }, () => ({ cpu: [0, 0], memory: [0, 0], network: [0, 0] })),
  );
  shards.forEach((shard, s) => {
    const [p, ...standbys] = placed[s]! as number[];
    const r = regionOf(p!);
    let perSecond = 0;
    for (let t = 0; t < steps; t++)
      for (const [o, origin] of regions.entries()) {
        const commands = shard.commandsPerSecond[origin]?.[t] ?? 0;
        const all = commands + (shard.queriesPerSecond[origin]?.[t] ?? 0);
        perSecond += weight(t) * all;
        const ms = all * header.rttMs[o]![r]! + commands * header.rttMs[r]![cellOf(r)]!;
        usd += (weight(t) * 3600 * ms * w.usdPerMsPerMillionRequests) / 1e6;
        usd += (weight(t) * 3600 * all * shard.bytesPerRequest * header.egressUsdPerGb[r]![o]!) / 1e9;
      }
    const writeGb = (3600 * shard.writeBytesPerSecond) / 1e9;
    usd += writeGb * header.egressUsdPerGb[r]![cellOf(r)]!;
    for (const b of standbys) usd += writeGb * header.egressUsdPerGb[r]![regionOf(b)]!;
    const was = [shard.primary, ...(shard.standbyNodes ?? [])]
      .filter((id) => id !== undefined)
      .map((id) => nodes.findIndex((node) => node.id === id));
    const stateGb = shard.stateBytes / 1e9;
    const waiting = (perSecond * w.moveRequestMs * w.usdPerMsPerMillionRequests) / 1e6;
    let moveUsd = 0;
    if (was.length > 0) {
      const source = regionOf(was[0]!);
      if (was.slice(1).includes(p!)) moveUsd += w.moveUsd + w.promotionShare * waiting;
      else if (p !== was[0]) moveUsd += w.moveUsd + waiting + stateGb * header.egressUsdPerGb[source]![r]!;
      for (const b of standbys)
        if (!was.includes(b)) moveUsd += w.moveUsd + stateGb * header.egressUsdPerGb[source]![regionOf(b)]!;
    }
    usd += moveUsd / w.moveHours;
    for (const [k, n] of [p!, ...standbys].entries()) {
      used.add(n);
      for (let t = 0; t < steps; t++)
        for (const name of ['cpu', 'memory', 'network'] as const) {
          const share = k === 0 ? 1 : w.standbyShare[name];
          loads[n]![t]![name][0]! += share * shard.load[t]![name][0];
          loads[n]![t]![name][1]! += share ** 2 * shard.load[t]![name][1];
        }
    }
  });
  nodes.forEach((node, n) => {
    if (used.has(n) || node.releasable !== true) usd += node.usdPerHour;
    for (let t = 0; t < steps; t++)
      for (const name of ['cpu', 'memory', 'network'] as const) {
        const [mean, variance] = loads[n]![t]![name] as [number, number];
        const load = mean + w.quantileZ * Math.sqrt(variance + (w.commonVariation[name] * mean) ** 2);
        const over = Math.max(0, load / node.capacity[name] - w.headroom) / (1 - w.headroom);
        usd += weight(t) * w.overloadFactor * node.usdPerHour * over ** 2;
      }
  });
  return usd;
}

function drawn(seed: number, shards: number, nodes: number) {
  const made = generateInstance({
    shards,
    nodes,
    regions: 4,
    seed,
    utilisation: 0.9,
    standbys: seed % 3,
    steps: 1 + (seed % 3),
    releasableShare: 0.5,
  });
  if (seed % 2 === 1) made.header.stepWeights = Array.from({ length: made.header.steps }, (_, t) => 1 + t);
  return { header: made.header, shards: [...made.shards()] };
}

describe('the objective', () => {
  it('is what its slow twin computes from the plain instance, for any placement and any move', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), fc.infiniteStream(fc.nat()), (seed, numbers) => {
        const { header, shards } = drawn(seed, 12, 9);
        const draw = () => {
          const picked: number[] = [];
          while (picked.length <= (shards[0]?.standbys ?? 0)) {
            const n = (numbers.next().value as number) % header.nodes.length;
            if (!picked.includes(n)) picked.push(n);
          }
          return picked;
        };
        const placed = shards.map(draw);
        for (const shard of shards) {
          if ((numbers.next().value as number) % 2 === 0) continue;
          const [primary, ...standbyNodes] = draw().map((n) => header.nodes[n]!.id);
          shard.primary = primary;
          shard.standbyNodes = standbyNodes;
        }
        const builder = new ProblemBuilder(header);
        for (const shard of shards) builder.add(shard);
        const { problem } = builder.build();
        const place = Int32Array.from(placed.flat());
        const parts = costOf(problem, place);
        const expected = twin(header, shards, placed);
        expect(parts.total / expected).toBeCloseTo(1, 6);
        const { total, ...causes } = parts;
        expect(Object.values(causes).reduce((a, b) => a + b, 0)).toBeCloseTo(total, 9);
      }),
      { numRuns: 60 },
    );
  });

  it('kept incrementally is the objective computed anew', () => {
    const { header, shards } = drawn(4, 40, 9);
    const builder = new ProblemBuilder(header);
    for (const shard of shards) builder.add(shard);
    const { problem } = builder.build();
    problem.excessUsdPerHour = 0;
    const state = new State(problem);
    let overloadAndNodes = 0;
    for (let n = 0; n < problem.nodeCount; n++)
      if (problem.releasable[n] === 0) overloadAndNodes += problem.nodeUsdPerHour[n]!;
    for (let round = 0; round < 3; round++)
      for (let s = 0; s < problem.shardCount; s++) {
        const n = (7 * s + 5 * round) % problem.nodeCount;
        if (round > 0) overloadAndNodes += state.remove(s, 0);
        const foretold = state.addUsd(s, n, false);
        const added = state.put(s, 0, n);
        expect(added).toBeCloseTo(foretold, 9);
        overloadAndNodes += added;
      }
    const parts = costOf(problem, state.place);
    expect(overloadAndNodes).toBeCloseTo(parts.overload + parts.nodes, 6);
  });
});
