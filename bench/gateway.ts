/**
 * What a gateway costs by itself: wrk -> gateway -> a node that answers at once. Three processes and wrk on one machine.
 *
 *   node bench/gateway.ts [--seconds 8] [--connections 64] [--direct] [--profile]
 *
 * Prints requests/s, latency and the CPU of gateway and node a request. `--direct` puts wrk on the node's own HTTP front
 * instead. `--profile` writes a CPU profile of the gateway into the current folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { serveFront } from '../src/gateway/http-front.ts';
import { runGatewayProcess } from '../src/gateway/process.ts';
import { realIo } from '../src/io/real.ts';
import { CONTROL_KEYS, encodeRecord, type NodeRecord } from '../src/model/records.ts';
import type { ShardReply, ShardRequest } from '../src/model/request.ts';
import { AWS_THREE_REGIONS } from '../src/model/topology.ts';
import { RemoteControlStore } from '../src/store/client.ts';
import { runStoreProcess } from '../src/store/process.ts';
import { serveRpc } from '../src/wire/rpc.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { wrk } from './lib/wrk.ts';

const { values } = parseArgs({
  options: {
    role: { type: 'string', default: 'bench' },
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
    keys: { type: 'string', default: '1000' },
    direct: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    control: { type: 'string', default: '' },
    directory: { type: 'string', default: '' },
  },
});
const TOKEN = 'bench-token';
const REGION = 'us-east-1';
const NODE = 'echo.1';
const self = fileURLToPath(import.meta.url);

if (values.role === 'node') await echoNode();
else if (values.role === 'gateway') await gateway();
else await bench();

async function echoNode(): Promise<void> {
  const io = realIo({ logLevel: 'error' });
  const body = Buffer.from('1');
  const execute = (_request: ShardRequest): ShardReply => ({
    status: 200,
    body,
    epoch: 1,
    seq: 1,
    servedBy: NODE,
  });
  const wire = await serveRpc({
    network: io.network,
    address: '127.0.0.1:0',
    token: TOKEN,
    handlers: { calls: { 'shard.execute': execute } },
  });
  const front = await serveFront({
    io,
    address: '127.0.0.1:0',
    region: REGION,
    execute: (request) => Promise.resolve(execute(request)),
    ready: () => true,
    metrics: async () => '',
  });
  console.log(JSON.stringify({ address: wire.address, httpAddress: front.address }));
}

async function gateway(): Promise<void> {
  const started = await runGatewayProcess({
    io: realIo({ logLevel: 'error' }),
    name: 'gw',
    region: REGION,
    httpAddress: '127.0.0.1:0',
    controlAddress: values.control,
    token: TOKEN,
    dataDirectory: values.directory,
    topology: AWS_THREE_REGIONS,
  });
  console.log(JSON.stringify({ address: '', httpAddress: started.httpAddress }));
  process.once('SIGTERM', () => started.close().then(() => process.exit(0)));
}

async function bench(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-bench-gateway-'));
  const io = realIo({ logLevel: 'error' });
  const children: ChildProcess[] = [];
  try {
    const store = await runStoreProcess({
      io,
      address: '127.0.0.1:0',
      token: TOKEN,
      dataDirectory: directory,
      control: true,
    });
    const control = new RemoteControlStore(io, store.address, { token: TOKEN, identity: 'bench' });
    const node = await role(children, 'node', [], []);
    const record: NodeRecord = {
      processId: NODE,
      name: 'echo',
      region: REGION,
      zone: 'a',
      address: node.address,
      httpAddress: node.httpAddress,
      leaseId: '',
      state: 'ready',
      capacity: { cpu: 1, memoryBytes: 2 ** 30, networkBytesPerSecond: 1e9 },
      usdPerHour: 0.1,
      services: { counter: { version: 1, handlers: { add: 'command' }, authorize: false } },
      startedAtMs: 0,
    };
    await put(control, CONTROL_KEYS.node(NODE), record);
    for (let k = 0; k < Number(values.keys); k++)
      await put(control, CONTROL_KEYS.own(`counter/k${k}`), {
        epoch: 1,
        primary: NODE,
        cell: 'c',
        standbys: [],
      });
    const front = await role(
      children,
      'gateway',
      ['--control', store.address, '--directory', directory],
      values.profile ? ['--cpu-prof', '--cpu-prof-name=gateway.cpuprofile'] : [],
    );
    const url = `http://${values.direct ? node.httpAddress : front.httpAddress}`;
    const options = { connections: Number(values.connections), keys: Number(values.keys) };
    await wrk(url, { ...options, seconds: 2 });
    const before = [front.cpuSeconds(), node.cpuSeconds()];
    const result = await wrk(url, { ...options, seconds: Number(values.seconds) });
    const perRequest = (used: number) => ((used * 1e6) / result.requests).toFixed(1);
    console.log(formatMachine(machineFacts()));
    console.log(
      `${values.direct ? 'front alone' : 'through the gateway'}: ${result.requestsPerSecond.toFixed(0)} requests/s, ` +
        `p50 ${result.p50Ms.toFixed(2)} ms, p99 ${result.p99Ms.toFixed(2)} ms, errors ${result.errors}, ` +
        `CPU a request: gateway ${perRequest(front.cpuSeconds() - before[0]!)} µs, ` +
        `node ${perRequest(node.cpuSeconds() - before[1]!)} µs`,
    );
    control.close();
    for (const child of children) {
      child.kill('SIGTERM');
      await new Promise((resolve) => child.once('exit', resolve));
    }
    await store.close();
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

function put(control: RemoteControlStore, key: string, record: object): Promise<unknown> {
  return control.transact({ compare: [], operations: [{ put: key, value: encodeRecord(record) }] });
}

async function role(
  children: ChildProcess[],
  name: string,
  flags: string[],
  nodeFlags: string[],
): Promise<{ address: string; httpAddress: string; cpuSeconds(): number }> {
  const child = spawn(process.execPath, [...nodeFlags, self, '--role', name, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const line = await new Promise<string>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`${name} ended before it was ready`)));
    createInterface({ input: child.stdout! }).once('line', resolve);
  });
  return {
    ...(JSON.parse(line) as { address: string; httpAddress: string }),
    cpuSeconds() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
  };
}
