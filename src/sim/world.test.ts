import { describe, expect, it } from 'vitest';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { RpcClient, serveRpc } from '../wire/rpc.ts';
import { SimNetworkFabric } from './network.ts';
import { SimDisk, SimProcess } from './process.ts';
import { World } from './world.ts';

function two(seed = 'test') {
  const world = new World(seed);
  const fabric = new SimNetworkFabric(world, AWS_THREE_REGIONS);
  const make = (name: string, region: string) =>
    new SimProcess({ world, fabric, name, incarnation: 1, region, disk: new SimDisk() });
  return { world, fabric, near: make('near', 'us-east-1'), far: make('far', 'eu-west-1') };
}

async function connected(seed?: string) {
  const { world, fabric, near, far } = two(seed);
  let served = 0;
  const listener = await serveRpc({
    network: far.io.network,
    address: 'far:0',
    token: 't',
    handlers: { calls: { count: () => ++served } },
  });
  const client = new RpcClient({
    network: near.io.network,
    clock: near.io.clock,
    address: listener.address,
    token: 't',
    identity: 'near',
    timeoutMs: 5_000,
  });
  return { world, fabric, near, far, client, served: () => served };
}

describe('the simulated world', () => {
  it('runs events in order of time, then of scheduling, with their promises in between', async () => {
    const world = new World('order');
    const seen: string[] = [];
    world.at(10, () => seen.push('b'));
    world.at(5, () => void Promise.resolve().then(() => seen.push('a, then')));
    world.at(10, () => seen.push('c'));
    await world.run(20);
    expect(seen).toEqual(['a, then', 'b', 'c']);
    expect(world.nowMs).toBe(20);
  });

  it('takes the round trip for a call', async () => {
    const { world, client } = await connected();
    expect(await world.settle(client.call('count', {}))).toBe(1);
    expect(world.nowMs).toBeGreaterThanOrEqual(84.9);
    expect(world.nowMs).toBeLessThan(90);
  });

  it('holds frames of a cut link and delivers them late: executed, though the caller gave up', async () => {
    const { world, fabric, client, served } = await connected();
    await world.settle(client.call('count', {}));
    fabric.cut('near', 'far');
    await expect(world.settle(client.call('count', {}))).rejects.toMatchObject({ code: 'unavailable' });
    expect(served()).toBe(1);
    fabric.heal();
    await world.run(world.nowMs + 1_000);
    expect(served()).toBe(2);
  });

  it('tells peers of a crash, but not of a lost host', async () => {
    const crashed = await connected();
    await crashed.world.settle(crashed.client.call('count', {}));
    crashed.far.crash();
    const startMs = crashed.world.nowMs;
    await expect(crashed.world.settle(crashed.client.call('count', {}))).rejects.toThrow(/broke/);
    expect(crashed.world.nowMs - startMs).toBeLessThan(200);
    const lost = await connected();
    await lost.world.settle(lost.client.call('count', {}));
    lost.far.crash(true);
    await expect(lost.world.settle(lost.client.call('count', {}))).rejects.toThrow(/no answer/);
  });

  it('lets a paused process see everything late, in order', async () => {
    const { world, far, client, served } = await connected();
    await world.settle(client.call('count', {}));
    far.pause();
    const calls = [client.call('count', {}), client.call('count', {})];
    await world.run(world.nowMs + 3_000);
    expect(served()).toBe(1);
    far.resume();
    expect(await world.settle(Promise.all(calls))).toEqual([2, 3]);
  });

  it('is the same run for the same seed', async () => {
    const times = async (seed: string) => {
      const { world, client } = await connected(seed);
      for (let i = 0; i < 5; i++) await world.settle(client.call('count', {}));
      return world.nowMs;
    };
    expect(await times('a')).toBe(await times('a'));
    expect(await times('a')).not.toBe(await times('b'));
  });
});
