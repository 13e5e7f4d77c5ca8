import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type GatewayProcess, runGatewayProcess } from '../../src/gateway/process.ts';
import { realIo } from '../../src/io/real.ts';
import { CONTROL_KEYS, encodeRecord } from '../../src/model/records.ts';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import { RemoteControlStore } from '../../src/store/client.ts';
import { runStoreProcess, type StoreProcess } from '../../src/store/process.ts';
import { FakeNode, MemoryControl, TOKEN } from './gateway-world.ts';

// Test plan: a gateway process against a real store over the wire; what it registers, how it drains, and that it starts
// and serves when the store is gone for good.
describe('a gateway process', () => {
  const io = realIo({ logLevel: 'silent' });
  let directory: string;
  let store: StoreProcess;
  let storeCloses: Promise<void> | undefined;
  let control: RemoteControlStore;
  let node: FakeNode;
  const processes: GatewayProcess[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'skein-gateway-'));
    storeCloses = undefined;
    const address = '127.0.0.1:0';
    store = await runStoreProcess({
      io,
      address,
      token: TOKEN,
      dataDirectory: join(directory, 's'),
      control: true,
    });
    control = new RemoteControlStore(io, store.address, { token: TOKEN, identity: 'test' });
    node = await new FakeNode(io, new MemoryControl(), 'a.1', 'eu-west-1').start();
    await put(CONTROL_KEYS.node('a.1'), node.record);
    await put(CONTROL_KEYS.own('room/x'), { epoch: 1, primary: 'a.1', cell: 'c', standbys: [] });
  });

  afterEach(async () => {
    for (const gateway of processes.splice(0)) await gateway.close();
    await node.kill();
    control.close();
    await closeStore();
    rmSync(directory, { recursive: true, force: true });
  });

  const closeStore = () => (storeCloses ??= store.close());
  const put = (key: string, record: object) =>
    control.transact({ compare: [], operations: [{ put: key, value: encodeRecord(record) }] });
  async function start(): Promise<GatewayProcess> {
    const gateway = await runGatewayProcess({
      io,
      name: 'gw',
      region: 'eu-west-1',
      httpAddress: '127.0.0.1:0',
      controlAddress: store.address,
      token: TOKEN,
      dataDirectory: join(directory, 'g'),
      topology: AWS_THREE_REGIONS,
      drainNoticeMs: 1,
    });
    processes.push(gateway);
    return gateway;
  }
  const ready = async (gateway: GatewayProcess) =>
    (await fetch(`http://${gateway.httpAddress}/readyz`)).status;
  const add = (gateway: GatewayProcess) =>
    fetch(`http://${gateway.httpAddress}/room/x/add`, {
      method: 'POST',
      body: '1',
      headers: { 'content-type': 'application/json' },
    });

  it('registers under a lease, serves, and follows the watch', async () => {
    const gateway = await start();
    await expect.poll(() => ready(gateway)).toBe(200);
    expect((await add(gateway)).headers.get('skein-served-by')).toBe('a.1');
    await expect.poll(async () => (await control.get('gateway/gw'))?.lease).toBe(gateway.identity);
    expect(JSON.parse((await control.get('gateway/gw'))!.value)).toMatchObject({
      httpAddress: gateway.httpAddress,
    });
    await put(CONTROL_KEYS.own('room/y'), { epoch: 1, primary: 'a.1', cell: 'c', standbys: [] });
    await expect.poll(() => gateway.gateway.table.route('room/y')?.primary).toBe('a.1');
    await gateway.close();
    expect(await control.get('gateway/gw')).toBeUndefined();
  });

  it('drains: not ready, but everything is answered; then it ends', async () => {
    const gateway = await start();
    await expect.poll(() => ready(gateway)).toBe(200);
    let release = () => {};
    node.script = () => new Promise((resolve) => (release = () => resolve(node.reply())));
    const arrived = node.arrival();
    const pending = add(gateway);
    await arrived;
    const drained = gateway.drain();
    expect(await ready(gateway)).toBe(503);
    release();
    const reply = await pending;
    expect(reply.status).toBe(200);
    await drained;
    expect(gateway.gateway.inFlight).toBe(0);
  });

  it('starts and serves when the store is gone', async () => {
    const first = await start();
    await expect.poll(() => first.gateway.table.size).toBe(1);
    await first.close();
    await closeStore();
    const second = await start();
    await expect.poll(() => ready(second)).toBe(200);
    expect((await add(second)).status).toBe(200);
  });
});
