/**
 * What a user sees of a hand-off, under load: the pause, in a region and between regions, with 1 KB and with 16 MB of
 * state.
 *
 *   node --conditions=skein-source bench/hand-off.ts [--count 500] [--shards 8] [--background 300] [--only near|far] [--small|--large]
 *     [--store process|etcd] [--members 1] [--json]
 *
 * Real processes: store, nodes and gateways of a local cluster, no controller; this process drives the migrations. Each
 * moving shard has one user in its first home's region who adds again as soon as the last add came back. Pause: the
 * longest of the adds under way from the order of the hand-off (the copy to another cell included) until the move's
 * end, less the median add where the shard was before; so the way to a target further off counts as pause. `slowest
 * add` is the same with nothing taken off, `sealed` what the source measured. With `--store etcd` the control store and each region's cell are an etcd cluster of their own, at the
 * emulated distances as well. Each shard moves to and fro. All four cases with 500 each take well over seven minutes: name one.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { command, defineApp, query, service } from 'skein';
import { Client } from 'undici';
import { EmulatedNetwork } from '../src/io/emulated-network.ts';
import { SeededRandom } from '../src/io/random.ts';
import { realClock, realIo } from '../src/io/real.ts';
import { TcpNetwork } from '../src/io/tcp-network.ts';
import { MigrationExecutor } from '../src/migration/driver.ts';
import { type AssignmentRecord, CONTROL_KEYS, decodeRecord, type NodeRecord } from '../src/model/records.ts';
import { AWS_THREE_REGIONS, rttMs } from '../src/model/topology.ts';
import { Peers } from '../src/node/peers.ts';
import type { HandOffPhases } from '../src/node/protocol.ts';
import { connectStores } from '../src/store/connect.ts';
import { type EtcdCluster, startEtcdCluster } from '../src/supervisor/etcd-cluster.ts';
import { type GivenStores, startLocalCluster } from '../src/supervisor/local-cluster.ts';
import { quantile, startLoad } from './lib/load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const counter = service(
  'counter',
  { version: 1, state: () => ({ value: 0, padding: [] as string[] }) },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    pad: command((ctx, bytes: number) => {
      ctx.state.padding.push('x'.repeat(bytes));
      return ctx.state.padding.length;
    }),
    get: query((ctx) => ctx.state.value),
  },
);

export const app = defineApp([counter]);
export default app;

const TOKEN = 'bench-token';
const PAD_BYTES = 950_000;
/** Moves of each shard that are not counted: there the processes compile what they run for the first time. */
const WARM_UP_ROUNDS = 2;
/** Adds between two moves, at least. */
const USUAL_ADDS_MIN = 5;

interface Scenario {
  name: string;
  regions: string[];
  stateBytes: number;
}

interface Figures {
  scenario: string;
  stateBytes: number;
  handOffs: number;
  rolledBack: number;
  failedRequests: number;
  pauseMs: { p50: number; p99: number; max: number };
  /** The whole of the slowest command, the way to the shard included. */
  slowestMs: { p50: number; p99: number; max: number };
  /** The same over the whole move, from its order to its end: transfer and warm-up disturb too. */
  movePauseMs: { p50: number; p99: number };
  sealedMs: { p50: number; p99: number };
  /** Parts of the sealed time, medians. */
  phasesMs: { seal: number; prove: number; swap: number };
  moveMs: { p50: number; p99: number };
  /** What the pause should stay under. */
  boundMs: number;
}

async function measure(
  scenario: Scenario,
  options: { count: number; shards: number; background: number; etcdMembers: 0 | 1 | 3 },
): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-hand-off-'));
  const etcds: EtcdCluster[] = [];
  const given =
    options.etcdMembers === 0
      ? undefined
      : await startStores(scenario.regions, directory, options.etcdMembers, etcds);
  const cluster = await startLocalCluster({
    app: fileURLToPath(import.meta.url),
    regions: scenario.regions,
    nodes: 2,
    dataDirectory: directory,
    policy: 'none',
    token: TOKEN,
    logLevel: 'error',
    ...(given ? { stores: given } : {}),
  });
  const home = scenario.regions[0]!;
  const network = new EmulatedNetwork({
    inner: new TcpNetwork(),
    clock: realClock,
    region: home,
    topology: AWS_THREE_REGIONS,
  });
  const io = realIo({ logLevel: 'error', network });
  const stores = connectStores(io, { token: TOKEN, identity: 'bench', controlAddress: cluster.control });
  const peers = new Peers({ io, token: TOKEN, identity: 'bench' });
  const load = startLoad(cluster.gateways[home]!, {
    ratePerSecond: options.background,
    keys: 100,
    prefix: 'background-',
  });
  try {
    await stores.ready;
    const { entries } = await stores.control.list('node/');
    const records = entries.map(({ value }) => decodeRecord<NodeRecord>(value));
    const nodes = new Map(records.map((record) => [record.processId, record]));
    const executor = new MigrationExecutor({
      io,
      control: stores.control,
      peer: (address) => peers.peer(address),
      nodeRecord: (processId) => nodes.get(processId),
      onUpdate: ({ id, step }) => {
        if (step === 'handing-off') orderedMs.set(id, performance.now());
      },
      limits: { movesPerNodeMax: 64 },
    });
    const pauses: number[] = [];
    const sealed: number[] = [];
    const moves: number[] = [];
    const phases: HandOffPhases[] = [];
    const moving: number[] = [];
    /** The longest add itself, nothing taken off. */
    const slowest: number[] = [];
    /** Migration -> when its hand-off was ordered. */
    const orderedMs = new Map<string, number>();
    let rolledBack = 0;
    let failedRequests = 0;

    const travel = async (index: number) => {
      const key = `moving-${index}`;
      const shard = `counter/${key}`;
      const client = new Client(cluster.gateways[home]!);
      const post = async (handler: string, input: number) => {
        const startedMs = performance.now();
        const reply = await client.request({
          method: 'POST',
          path: `/counter/${key}/${handler}`,
          body: String(input),
          headers: { 'content-type': 'application/json' },
        });
        await reply.body.dump();
        if (reply.statusCode !== 200) failedRequests++;
        return { startedMs, tookMs: performance.now() - startedMs };
      };
      for (let bytes = 0; bytes + PAD_BYTES < scenario.stateBytes; bytes += PAD_BYTES)
        await post('pad', PAD_BYTES);
      await post('pad', Math.min(1_000, scenario.stateBytes));
      let stopped = false;
      let recent: { startedMs: number; tookMs: number }[] = [];
      const user = (async () => {
        while (!stopped) {
          recent.push(await post('add', 1));
          await realPause(2);
        }
      })();
      // Moves come when they come: in step with each other, eight at once on two cores would wait for one another.
      const random = new SeededRandom(`shard ${index}`);
      const rounds = WARM_UP_ROUNDS + Math.ceil(options.count / options.shards);
      for (let round = 0; round < rounds; round++) {
        await realPause(100 + 300 * random.next());
        // What the user waits where the shard is now: adds of before the last move were answered elsewhere.
        while (recent.length < USUAL_ADDS_MIN) await realPause(2);
        const own = await stores.control.get(CONTROL_KEYS.own(shard));
        const assignment = decodeRecord<AssignmentRecord>(own!.value);
        const source = nodes.get(assignment.primary)!;
        const target = records.find(({ processId }) => processId !== source.processId)!;
        const before = quantile(
          recent.map(({ tookMs }) => tookMs),
          0.5,
        );
        recent = [];
        const startedMs = performance.now();
        const id = executor.start({
          shard,
          source: source.processId,
          target: target.processId,
          cell: `cell-${target.region}`,
          epoch: assignment.epoch,
          reason: { text: 'bench', gainUsdPerHour: 0, costUsdPerHour: 0, latencyMsNow: 0, latencyMsThen: 0 },
          priority: 'manual',
          bytes: scenario.stateBytes,
        });
        const view = () => executor.list().find((one) => one.id === id)!;
        while (view().outcome === undefined) await realPause(5);
        moves.push(performance.now() - startedMs);
        // The add that was held may come back just after.
        const seen = recent.length;
        while (recent.length < seen + 2) await realPause(1);
        const adds = recent;
        recent = [];
        if (view().outcome !== 'completed') {
          rolledBack++;
          console.error(`${shard}: ${view().step}: ${view().detail}`);
          continue;
        }
        if (round < WARM_UP_ROUNDS) continue;
        // On the way back the user was far before, and near after: nothing of that is pause.
        const longestOf = (some: typeof adds) => Math.max(before, ...some.map(({ tookMs }) => tookMs));
        const ordered = orderedMs.get(id) ?? startedMs;
        const longest = longestOf(adds.filter((add) => add.startedMs + add.tookMs >= ordered));
        slowest.push(longest);
        pauses.push(longest - before);
        moving.push(longestOf(adds) - before);
        const { handOff } = view();
        if (handOff) sealed.push(handOff.sealedMs);
        if (pauses.length % 50 === 0)
          console.error(
            `${scenario.name}, ${scenario.stateBytes} bytes: ${pauses.length} of ${options.count} hand-offs`,
          );
        if (handOff?.phasesMs) phases.push(handOff.phasesMs);
      }
      stopped = true;
      await user;
      await client.close();
    };
    await Promise.all(Array.from({ length: options.shards }, (_, index) => travel(index)));
    executor.stop();
    let largestMs = 0;
    for (const from of scenario.regions)
      for (const to of scenario.regions) largestMs = Math.max(largestMs, rttMs(AWS_THREE_REGIONS, from, to));
    await load.stop();
    return {
      scenario: scenario.name,
      stateBytes: scenario.stateBytes,
      handOffs: pauses.length,
      rolledBack,
      failedRequests: failedRequests + load.sent.filter(({ status }) => status !== 200).length,
      pauseMs: { p50: quantile(pauses, 0.5), p99: quantile(pauses, 0.99), max: Math.max(...pauses) },
      slowestMs: { p50: quantile(slowest, 0.5), p99: quantile(slowest, 0.99), max: Math.max(...slowest) },
      movePauseMs: { p50: quantile(moving, 0.5), p99: quantile(moving, 0.99) },
      sealedMs: { p50: quantile(sealed, 0.5), p99: quantile(sealed, 0.99) },
      phasesMs: {
        seal: quantile(
          phases.map(({ seal }) => seal),
          0.5,
        ),
        prove: quantile(
          phases.map(({ prove }) => prove),
          0.5,
        ),
        swap: quantile(
          phases.map(({ swap }) => swap),
          0.5,
        ),
      },
      moveMs: { p50: quantile(moves, 0.5), p99: quantile(moves, 0.99) },
      boundMs: scenario.regions.length === 1 ? 15 : 3 * largestMs,
    };
  } finally {
    peers.close();
    stores.close();
    await cluster.stop();
    await Promise.all(etcds.map((etcd) => etcd.stop('SIGKILL')));
    rmSync(directory, { recursive: true, force: true });
  }
}

/** An etcd cluster for control and one a region for its cell. */
async function startStores(
  regions: string[],
  directory: string,
  members: 1 | 3,
  started: EtcdCluster[],
): Promise<GivenStores> {
  const { random } = realIo({ logLevel: 'silent' });
  const start = async (name: string) => {
    const cluster = await startEtcdCluster({ random, dataDirectory: join(directory, name), members });
    started.push(cluster);
    return cluster.address();
  };
  const control = await start('control');
  const cells: Record<string, { region: string; address: string }> = {};
  for (const region of regions) cells[`cell-${region}`] = { region, address: await start(`cell-${region}`) };
  const file = join(directory, 'stores.json');
  writeFileSync(file, JSON.stringify({ control, cells }));
  return { controlAddress: control, file };
}

function realPause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '500' },
      shards: { type: 'string', default: '8' },
      background: { type: 'string', default: '300' },
      only: { type: 'string' },
      /** Leave the large state out. */
      small: { type: 'boolean', default: false },
      /** Leave the small state out. */
      large: { type: 'boolean', default: false },
      store: { type: 'string', default: 'process' },
      members: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  const machine = machineFacts();
  const near = ['us-east-1'];
  const far = ['us-east-1', 'eu-west-1'];
  const scenarios: Scenario[] = [
    { name: 'near', regions: near, stateBytes: 1_000 },
    { name: 'near', regions: near, stateBytes: 15_500_000 },
    { name: 'far', regions: far, stateBytes: 1_000 },
    { name: 'far', regions: far, stateBytes: 15_500_000 },
  ].filter(
    ({ name, stateBytes }) =>
      (values.only ?? name) === name && !(stateBytes > 1e6 ? values.small : values.large),
  );
  const figures: Figures[] = [];
  for (const scenario of scenarios) {
    // Large states would fill the memory of a small machine: fewer at once, as many hand-offs.
    const shards = scenario.stateBytes > 1e6 ? Math.min(2, Number(values.shards)) : Number(values.shards);
    figures.push(
      await measure(scenario, {
        count: Number(values.count),
        shards,
        background: Number(values.background),
        etcdMembers: values.store === 'etcd' ? (values.members === '3' ? 3 : 1) : 0,
      }),
    );
  }
  if (values.json) console.log(JSON.stringify({ machine, figures }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log(
      '| | state | hand-offs | rolled back | failed requests | pause ms p50 | p99 | max | slowest add p50 | p99 | max | whole move p50 | p99 | sealed p50 | p99 | of it seal | prove | swap | move takes p50 | p99 | bound |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|',
    );
    for (const one of figures) {
      const ms = [
        one.pauseMs.p50,
        one.pauseMs.p99,
        one.pauseMs.max,
        one.slowestMs.p50,
        one.slowestMs.p99,
        one.slowestMs.max,
        one.movePauseMs.p50,
        one.movePauseMs.p99,
        one.sealedMs.p50,
        one.sealedMs.p99,
        one.phasesMs.seal,
        one.phasesMs.prove,
        one.phasesMs.swap,
        one.moveMs.p50,
        one.moveMs.p99,
        one.boundMs,
      ].map((value) => value.toFixed(1));
      console.log(
        `| ${one.scenario} | ${one.stateBytes > 1e6 ? `${(one.stateBytes / 1e6).toFixed(1)} MB` : '1 KB'} | ${one.handOffs} | ${one.rolledBack} | ${one.failedRequests} | ${ms.join(' | ')} |`,
      );
    }
  }
}
