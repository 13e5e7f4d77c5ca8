/**
 * How right the CPU metering of shards is: under a mixed load, each shard's share of the CPU as a node measured it,
 * against its share when its calls are replayed alone.
 *
 *   node --conditions=skein-source bench/metering.ts [--seconds 10] [--repeat 5] [--rate 1] [--seed 1] [--json]
 *
 * A store and a node run as processes of their own; the node is loaded over HTTP, open loop, with 44 shards whose calls
 * take from 5 µs to 5 ms. Afterwards every shard's calls are replayed here, one shard at a time, by the functions that
 * make up a call (input, handler on a draft, delta or result) without replica, meter or network, and timed by the
 * thread's CPU clock. Twice, as a call's price depends on what the core still has in its caches:
 *
 * - hot: all calls back to back, the median of the repetitions;
 * - spaced: a sample of them, 2 ms apart, as calls come to a shard in service.
 *
 * Nothing is rescaled; shares are each side's own.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { threadCpuMicros } from '../src/io/cpu-segments.ts';
import { SeededRandom } from '../src/io/random.ts';
import { realIo } from '../src/io/real.ts';
import type { LoadSample, NodeSample } from '../src/model/load.ts';
import { encodeDelta } from '../src/shard/delta.ts';
import { openDraft } from '../src/shard/draft.ts';
import { AppEffects } from '../src/shard/effects.ts';
import {
  type ContextSource,
  HandlerContext,
  inputText,
  isThenable,
  type LoadedService,
  loadService,
  resultText,
  validInput,
} from '../src/shard/handlers.ts';
import { Diff, type Json } from '../src/shard/patch.ts';
import { initialState } from '../src/shard/upgrade.ts';
import { RpcClient } from '../src/wire/rpc.ts';
import { app } from './apps/metering.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { Roles } from './lib/roles.ts';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    repeat: { type: 'string', default: '5' },
    /** Multiplies every shard's rate. */
    rate: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const WARM_UP_MS = 8_000;
const runMs = Number(options.seconds) * 1_000;
const repeat = Number(options.repeat);
const random = new SeededRandom(`metering-${options.seed}`);

interface CostClass {
  name: string;
  shards: number;
  /** Calls a second of a shard, before it is varied by a factor of two either way. */
  rate: number;
  service: string;
  /** So many times the rate while warming up: a node in service has run such handlers for hours. */
  warmUpFactor?: number;
  call(): { handler: string; input: unknown };
}

/** Inputs of a class differ in size: half to twice. */
const about = (size: number) => Math.round(size * 2 ** (random.next() * 2 - 1));
const text = (length: number) => 'x'.repeat(length);
const classes: CostClass[] = [
  {
    name: '5 µs, members',
    shards: 8,
    rate: 200,
    service: 'fields',
    warmUpFactor: 3,
    call: () =>
      random.next() < 0.5
        ? { handler: 'put', input: { field: `f${Math.floor(random.next() * 50)}`, value: random.next() } }
        : { handler: 'get', input: `f${Math.floor(random.next() * 50)}` },
  },
  {
    name: '30 µs, list',
    shards: 6,
    rate: 80,
    service: 'room',
    warmUpFactor: 3,
    call: () =>
      random.next() < 0.5
        ? { handler: 'post', input: { from: `u${Math.floor(random.next() * 9)}`, text: text(about(200)) } }
        : { handler: 'latest', input: about(40) },
  },
  {
    name: '100 µs',
    shards: 6,
    rate: 50,
    service: 'tally',
    call: () => ({ handler: 'crunch', input: about(23) }),
  },
  {
    name: '300 µs',
    shards: 6,
    rate: 25,
    service: 'tally',
    call: () => ({ handler: 'crunch', input: about(70) }),
  },
  {
    name: '1 ms, sort',
    shards: 5,
    rate: 8,
    service: 'tally',
    call: () => ({ handler: 'sort', input: about(3_000) }),
  },
  {
    name: '2 ms',
    shards: 4,
    rate: 5,
    service: 'tally',
    call: () => ({ handler: 'crunch', input: about(480) }),
  },
  {
    name: '5 ms',
    shards: 3,
    rate: 3,
    service: 'tally',
    call: () => ({ handler: 'crunch', input: about(1_200) }),
  },
  {
    name: '100 µs, async',
    shards: 3,
    rate: 30,
    service: 'tally',
    call: () => ({ handler: 'later', input: about(23) }),
  },
  {
    name: '1 ms, async',
    shards: 3,
    rate: 8,
    service: 'tally',
    call: () => ({ handler: 'later', input: about(230) }),
  },
];

interface Call {
  handler: string;
  input: Uint8Array;
}

interface LoadedShard {
  shard: string;
  class: CostClass;
  rate: number;
  nextMs: number;
  /** Before the measured time: they make the state, nothing else. */
  before: Call[];
  calls: Call[];
}

const shards: LoadedShard[] = classes.flatMap((one, nth) =>
  Array.from({ length: one.shards }, (_, i) => {
    const shard = `${one.service}/class-${nth}-${i}`;
    return {
      shard,
      class: one,
      rate: (about(one.rate * 16) / 16) * Number(options.rate),
      nextMs: 0,
      before: [],
      calls: [],
    };
  }),
);

/** Sends each shard's calls at random times of its rate; resolves when all have come back. */
async function load(pool: Pool, durationMs: number, kept: 'before' | 'calls'): Promise<number> {
  const startMs = performance.now();
  for (const one of shards) one.nextMs = startMs;
  const underWay = new Set<Promise<void>>();
  let failed = 0;
  const send = async (one: LoadedShard) => {
    const { handler, input } = one.class.call();
    const body = JSON.stringify(input);
    one[kept].push({ handler, input: Buffer.from(body) });
    const reply = await pool.request({
      method: 'POST',
      path: `/${one.shard}/${handler}`,
      body,
      headers: { 'content-type': 'application/json' },
    });
    const answer = await reply.body.text();
    if (reply.statusCode > 299) throw new Error(answer);
  };
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const nowMs = performance.now();
      if (nowMs - startMs > durationMs) {
        clearInterval(timer);
        resolve();
        return;
      }
      for (const one of shards) {
        while (one.nextMs <= nowMs) {
          const rate = one.rate * (kept === 'before' ? (one.class.warmUpFactor ?? 1) : 1);
          one.nextMs += (-Math.log(1 - random.next()) * 1_000) / rate;
          const sent = send(one).catch((error) => {
            if (failed++ === 0) console.error(error);
          });
          underWay.add(sent);
          void sent.then(() => underWay.delete(sent));
        }
      }
    }, 2);
  });
  await Promise.all(underWay);
  return failed;
}

const services = new Map<string, LoadedService>(
  app.services.map((one) => [one.name, loadService(one, new AppEffects(undefined))]),
);
const source: ContextSource = {
  random: () => 0.5,
  effectsOf() {
    throw new Error('a replay has no outside');
  },
};

/** Replays calls as a replica would execute them, and nothing else. Gives the state they leave. */
async function replay(loaded: LoadedService, from: Json, calls: Call[]): Promise<Json> {
  let state = from;
  for (const { handler: name, input } of calls) {
    const handler = loaded.handlers.get(name)!;
    const request = {
      shard: '',
      handler: name,
      input,
      method: 'post' as const,
      origin: '',
      userHash: 0,
      hops: 0,
    };
    const value = validInput(handler, inputText(input));
    if (!handler.isCommand) {
      resultText(handler.run(new HandlerContext(state, { request }, '', 0, source), value));
      continue;
    }
    const draft = openDraft(state as object);
    const result = handler.run(new HandlerContext(draft.state, { request }, '', 0, source), value);
    const output = resultText(isThenable(result) ? await result : result);
    const next = draft.commit() as Json;
    if (next === state) continue;
    const diff = Diff.between(state, next);
    encodeDelta(1, 0, diff.operations, undefined, 0, output);
    state = next;
  }
  return state;
}

const SPACED_CALLS_MAX = 120;
const SPACING_MS = 2;

/** CPU of all calls, judged by a sample that is replayed with pauses. */
async function spacedCpuMicros(one: LoadedShard): Promise<number> {
  const loaded = services.get(one.class.service)!;
  let state = await replay(loaded, initialState(loaded), one.before);
  const count = Math.min(SPACED_CALLS_MAX, one.calls.length);
  let tookMicros = 0;
  for (let i = 0; i < count; i++) {
    const call = [one.calls[Math.floor((i * one.calls.length) / count)]!];
    await new Promise((resolve) => setTimeout(resolve, SPACING_MS));
    const startMicros = threadCpuMicros();
    state = await replay(loaded, state, call);
    tookMicros += threadCpuMicros() - startMicros;
  }
  return (tookMicros / count - CLOCK_MICROS) * one.calls.length;
}

/** What a reading of the clock itself takes: it lies within each spaced call. */
const CLOCK_MICROS = (() => {
  const startMicros = threadCpuMicros();
  for (let i = 0; i < 10_000; i++) threadCpuMicros();
  return (threadCpuMicros() - startMicros) / 10_000;
})();

async function hotCpuMicros(one: LoadedShard): Promise<number> {
  const loaded = services.get(one.class.service)!;
  const base = await replay(loaded, initialState(loaded), one.before);
  const took: number[] = [];
  for (let i = 0; i < repeat; i++) {
    const startMicros = threadCpuMicros();
    await replay(loaded, base, one.calls);
    took.push(threadCpuMicros() - startMicros);
  }
  return took.sort((a, b) => a - b)[Math.floor(repeat / 2)]!;
}

const roles = new Roles();
const io = realIo({ logLevel: 'error' });
let sample: { node: NodeSample; shards: LoadSample[] };
let failed: number;
const machine = machineFacts();
try {
  const region = 'us-east-1';
  const store = await roles.start('store', [
    ...['--name', 'store', '--region', region, '--cell', `cell-${region}`, '--control-store'],
    ...['--listen', '127.0.0.1:21961', '--data', join(roles.directory, 'store')],
  ]);
  const node = await roles.start('node', [
    ...['--region', region, '--zone', `${region}a`, '--control', store.ready.address, '--name', 'n1'],
    ...['--app', 'bench/apps/metering.ts', '--listen', '127.0.0.1:21962', '--http', '127.0.0.1:21963'],
    ...['--data', join(roles.directory, 'node')],
  ]);
  const pool = new Pool(`http://${node.ready.httpAddress}`, { connections: 64, pipelining: 1 });
  const { network, clock } = io;
  const client = new RpcClient({
    network,
    clock,
    address: node.ready.address,
    token: 'bench-token',
    identity: 'bench',
  });
  failed = await load(pool, WARM_UP_MS, 'before');
  await client.call('node.samples', { sinceMs: 0 });
  failed += await load(pool, runMs, 'calls');
  sample = await client.call('node.samples', { sinceMs: 0 });
  client.close();
  await pool.close();
} finally {
  await roles.stop();
}

const metered = new Map(sample.shards.map((one) => [one.shard, one.cpuSeconds * 1e6]));
interface Row {
  class: string;
  calls: number;
  metered: number;
  hot: number;
  spaced: number;
}
const rows: Row[] = [];
// Everything runs once before anything is timed: the compiler is done by then, as it was in the node.
for (const one of shards) {
  const loaded = services.get(one.class.service)!;
  await replay(loaded, await replay(loaded, initialState(loaded), one.before), one.calls);
}
for (const one of shards) {
  rows.push({
    class: one.class.name,
    calls: one.calls.length,
    metered: metered.get(one.shard) ?? 0,
    hot: await hotCpuMicros(one),
    spaced: await spacedCpuMicros(one),
  });
}

const sum = (list: Row[], of: 'calls' | 'metered' | 'hot' | 'spaced') =>
  list.reduce((total, row) => total + row[of], 0);
const median = (list: number[]) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;

/** Metered share by true share of each shard, less one. */
function deviations(list: Row[], truth: 'hot' | 'spaced'): number[] {
  const scale = sum(rows, truth) / sum(rows, 'metered');
  return list.map((row) => (row.metered / row[truth]) * scale - 1);
}

function judged(list: Row[], truth: 'hot' | 'spaced') {
  const off = deviations(list, truth);
  const absolute = off.map(Math.abs);
  return {
    median: median(off),
    medianAbsolute: median(absolute),
    worst: Math.max(...absolute),
    within10Percent: absolute.filter((one) => one <= 0.1).length,
  };
}

const classRows = classes.map(({ name }) => {
  const own = rows.filter((row) => row.class === name);
  const calls = sum(own, 'calls');
  return {
    class: name,
    shards: own.length,
    calls,
    hotMicros: sum(own, 'hot') / calls,
    spacedMicros: sum(own, 'spaced') / calls,
    meteredMicros: sum(own, 'metered') / calls,
    againstHot: judged(own, 'hot'),
    againstSpaced: judged(own, 'spaced'),
  };
});
const result = {
  machine,
  seconds: runMs / 1_000,
  failed,
  nodeLoopShare: sample.node.loopCpuSeconds / (sample.node.stepMs / 1_000),
  shards: rows.length,
  meteredToHot: sum(rows, 'metered') / sum(rows, 'hot'),
  meteredToSpaced: sum(rows, 'metered') / sum(rows, 'spaced'),
  againstHot: judged(rows, 'hot'),
  againstSpaced: judged(rows, 'spaced'),
  classes: classRows,
};
if (options.json) console.log(JSON.stringify(result, null, 2));
else {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const micros = (value: number) => value.toFixed(1);
  console.log(
    `${formatMachine(machine)}; the node's loop ${percent(result.nodeLoopShare)} of a core; ${failed} failed`,
  );
  console.log(
    '| calls of | shards | calls | hot, µs | spaced, µs | metered, µs | share off hot: median, worst | share off spaced: median, worst |',
  );
  console.log('|---|---|---|---|---|---|---|---|');
  for (const row of classRows) {
    const { againstHot, againstSpaced } = row;
    console.log(
      `| ${row.class} | ${row.shards} | ${row.calls} | ${micros(row.hotMicros)} | ${micros(row.spacedMicros)} | ${micros(row.meteredMicros)} | ${percent(againstHot.median)}, ${percent(againstHot.worst)} | ${percent(againstSpaced.median)}, ${percent(againstSpaced.worst)} |`,
    );
  }
  for (const [name, all, ratio] of [
    ['hot', result.againstHot, result.meteredToHot],
    ['spaced', result.againstSpaced, result.meteredToSpaced],
  ] as const) {
    console.log(
      `Shares against ${name}: median deviation ${percent(all.medianAbsolute)}, worst ${percent(all.worst)}, ${all.within10Percent} of ${rows.length} shards within 10 %; metered in all ${percent(ratio)}.`,
    );
  }
}
