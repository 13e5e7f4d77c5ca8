/** Standbys of the replayed cluster: promotions take no bytes, roles change, what is lacking is copied, failures are taken over. */
import { describe, expect, it } from 'vitest';
import { type ClusterModel, DEFAULT_CLUSTER } from './model.ts';
import type { Workload } from './workload.ts';
import { World } from './world.ts';

const GB = 1e9;
const SHARDS = 6;
const STATE_GB = 2;
const model: ClusterModel = { ...DEFAULT_CLUSTER, standbys: 1, moveFixedS: 3, failoverS: 5 };
/** Seconds that one shard's bytes take alone. */
const BYTES_S = (STATE_GB * GB) / model.moveBytesPerSecond;

const workload: Workload = {
  stepS: 600,
  steps: 10,
  t0Ms: 0,
  shards: Array.from({ length: SHARDS }, (_, s) => `load/${s}`),
  regions: ['us-east-1'],
  stateBytes: new Float64Array(SHARDS).fill(STATE_GB * GB),
  home: new Uint8Array(SHARDS),
  fill: (_step, into) => into.fill(10),
};

/** Three nodes; primaries on the first, or as given; standbys where the rule has them. */
function ready(place = new Array<number>(SHARDS).fill(0)): World {
  const world = new World(model, workload, 0);
  world.setRates(new Float64Array(SHARDS).fill(10));
  for (let n = 0; n < 3; n++) world.startNode(0, true);
  place.forEach((n, s) => {
    world.put(s, world.nodes[n]!);
  });
  world.putStandbys();
  world.score.active = true;
  return world;
}

const on = (world: World) => [...world.standbys.on];

/** The invariants after anything: apart from the primary, and nodes carry what follows them. */
function expectSound(world: World): void {
  for (const node of world.nodes) {
    const here = on(world).filter((n) => n === node.index).length;
    expect(node.standbyBytes).toBeCloseTo(here * STATE_GB * GB, 0);
    expect(node.standbyRate).toBeCloseTo(here * 10, 6);
  }
  on(world).forEach((n, s) => {
    if (n >= 0) expect(n).not.toBe(world.place[s]);
  });
}

describe('standbys', () => {
  it('are on other nodes from the beginning, follow for a share of the CPU, and cost nothing there', () => {
    const world = ready();
    expect(on(world).every((n) => n === 1 || n === 2)).toBe(true);
    expect(world.flights).toEqual([]);
    const one = 10 * model.cpuSecondsPerRequest;
    const all = world.nodes.reduce((sum, node) => sum + world.demandCpu(node), 0);
    expect(all).toBeCloseTo(SHARDS * one * (1 + model.standbyCpuShare), 9);
    expectSound(world);
  });

  it('a move to one is a promotion: no bytes, and the two change roles', () => {
    const world = ready();
    const to = world.standbys.on[0]!;
    world.wish([{ shard: 0, to }]);
    world.advance(model.moveFixedS + 0.5);
    expect(world.place[0]).toBe(to);
    expect(world.standbys.on[0]).toBe(0);
    expect(world.score).toMatchObject({ promotions: 1, moves: 0, bytesMoved: 0, bytesCopied: 0 });
    expectSound(world);
  });

  it('a move elsewhere takes its bytes and leaves the standby where it is', () => {
    const world = ready();
    const standby = world.standbys.on[0]!;
    const to = standby === 1 ? 2 : 1;
    world.wish([{ shard: 0, to }]);
    world.advance(BYTES_S + model.moveFixedS - 1);
    expect(world.place[0]).toBe(0);
    world.advance(BYTES_S + model.moveFixedS + 1.5);
    expect(world.place[0]).toBe(to);
    expect(world.standbys.on[0]).toBe(standby);
    expect(world.score).toMatchObject({ promotions: 0, moves: 1, bytesMoved: STATE_GB * GB });
    expectSound(world);
  });

  it('those of a node that drains are copied to another one', () => {
    const world = ready();
    const lost = on(world).filter((n) => n === 1).length;
    expect(lost).toBeGreaterThan(0);
    world.drain(world.byIndex[1]!);
    expect(on(world).filter((n) => n === -1)).toHaveLength(lost);
    world.advance(SHARDS * BYTES_S + 10);
    expect(on(world).every((n) => n === 2)).toBe(true);
    expect(world.score.bytesCopied).toBe(lost * STATE_GB * GB);
    expect(world.byIndex[1]!.state).toBe('gone');
    expectSound(world);
  });

  it('take over where a node fails, without reading the state, and are made anew', () => {
    const world = ready();
    const heirs = on(world);
    world.fail(world.byIndex[0]!);
    expect([...world.place]).toEqual(new Array(SHARDS).fill(-1));
    world.advance(model.failoverS + 1.5);
    expect([...world.place]).toEqual(heirs);
    expectSound(world);
    world.advance(model.failoverS + SHARDS * BYTES_S + 20);
    expect(on(world).every((n) => n >= 0)).toBe(true);
    expect(world.score.moves).toBe(0);
    expectSound(world);
  });

  it('are none where nothing else is there to hold one, until a node is', () => {
    const world = new World(model, workload, 0);
    world.setRates(new Float64Array(SHARDS).fill(10));
    const only = world.startNode(0, true);
    for (let s = 0; s < SHARDS; s++) world.put(s, only);
    world.putStandbys();
    expect(on(world)).toEqual(new Array(SHARDS).fill(-1));
    const next = world.startNode(0);
    while (world.advance(model.nodeStartS + SHARDS * BYTES_S + 10) === 'ready');
    expect(on(world)).toEqual(new Array(SHARDS).fill(next.index));
    expectSound(world);
  });
});
