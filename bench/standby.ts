/**
 * What standbys cost on the wire: bytes that leave a primary's node for its standbys, against what sending the whole
 * state at each group of durable deltas would have taken, and against the same deltas uncompressed.
 *
 *   node --conditions=skein-source bench/standby.ts [--seconds 10] [--rate 1000] [--json]
 *
 * Two nodes with their stores in one process over loopback TCP; a chat service with one standby a shard. Bytes are
 * counted at the primary's listener: every frame to the standby's node, replies to its calls and the first snapshots
 * included. Each setting runs in turn: few busy rooms, many quiet ones, small and large state.
 */
import { parseArgs } from 'node:util';
import { command, defineApp, service } from 'skein';
import type { Channel, Io } from '../src/io/io.ts';
import { realIo } from '../src/io/real.ts';
import { migrationParticipant } from '../src/node/migration/participant.ts';
import { SkeinNode } from '../src/node/node.ts';
import { memoryStores } from '../src/node/test-cluster.ts';
import { loadApp } from '../src/shard/runtime.ts';
import { type RpcHandlers, serveRpc } from '../src/wire/rpc.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const WORDS =
  'the quick brown fox jumps over a lazy dog hello there how are you today the meeting moved to tomorrow see you at lunch'.split(
    ' ',
  );
const MESSAGES_KEPT = 50;

const room = service(
  'room',
  { version: 1, state: () => ({ said: 0, ballast: '', last: [] as object[] }), standbys: 1 },
  {
    fill: command((ctx, bytes: number) => {
      ctx.state.ballast = 'x'.repeat(bytes);
      return 0;
    }),
    say: command((ctx, input: { from: string; text: string }) => {
      ctx.state.said++;
      ctx.state.last.push({ ...input, id: ctx.state.said, at: ctx.now });
      if (ctx.state.last.length > MESSAGES_KEPT) ctx.state.last.shift();
      return ctx.state.said;
    }),
  },
);

/** Counts what leaves by the channels that were accepted. */
function counting(io: Io, count: (bytes: number) => void): Io {
  return {
    ...io,
    network: {
      connect: (address) => io.network.connect(address),
      listen: (address, accept) =>
        io.network.listen(address, (channel: Channel) => {
          const send = channel.send.bind(channel);
          channel.send = (frame) => {
            count(frame.byteLength);
            send(frame);
          };
          accept(channel);
        }),
    },
  };
}

interface Outcome {
  rooms: number;
  stateBytes: number;
  deltas: number;
  deltaBytes: number;
  /** Counted on the channel, while there was load. */
  wireBytes: number;
  /** The copies that were made before. */
  snapshotBytes: number;
  batches: number;
  /** The whole state at every group of durable deltas of a shard. */
  fullStateBytes: number;
}

async function run(rooms: number, ballastBytes: number): Promise<Outcome> {
  const stores = memoryStores();
  const runtime = () => loadApp(defineApp([room]));
  let sentBytes = 0;
  const start = async (name: string, count: (bytes: number) => void) => {
    const io = counting(realIo({ logLevel: 'silent' }), count);
    const handlers: RpcHandlers = {};
    const listener = await serveRpc({ network: io.network, address: '127.0.0.1:0', token: 't', handlers });
    const node = new SkeinNode({
      io,
      config: {
        name,
        processId: `${name}.1`,
        region: 'here',
        zone: name,
        address: listener.address,
        httpAddress: '',
        homeCell: 'cell-here',
        capacity: { cpu: 1, memoryBytes: 1e9, networkBytesPerSecond: 1e9 },
        usdPerHour: 0.1,
        token: 't',
      },
      runtime: runtime(),
      control: stores.control,
      cells: stores.cells,
      participant: migrationParticipant,
    });
    Object.assign(handlers, node.handlers());
    await node.start();
    return { node, listener };
  };
  const a = await start('a', (bytes) => {
    sentBytes += bytes;
  });
  const b = await start('b', () => {});
  while (a.node.nodes().length < 2) await pause(5);
  let random = 1;
  const draw = (below: number) => {
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
    return random % below;
  };
  let number = 0;
  const send = (shard: string, handler: string, input: unknown) =>
    a.node.execute({
      shard,
      handler,
      input: Buffer.from(JSON.stringify(input)),
      method: 'post',
      origin: 'here',
      userHash: 1,
      hops: 0,
      idempotency: { kind: 'gateway', gateway: 'gw-here.k3f9x0', number: ++number, lowWater: number - 4 },
    });
  for (let i = 0; i < rooms; i++) await send(`room/${i}`, 'fill', ballastBytes);
  const follows = (shard: string) =>
    b.node.host.replica(shard)?.state.appliedSeq === a.node.host.replica(shard)!.state.durableSeq;
  const all = Array.from({ length: rooms }, (_, i) => `room/${i}`);
  while (a.node.standbys.lacking > 0 || !all.every(follows)) await pause(20);
  const snapshotBytes = sentBytes;
  let fullStateBytes = 0;
  for (const shard of all) {
    const replica = a.node.host.replica(shard)!;
    replica.onDurable(() => {
      fullStateBytes += replica.state.stateBytes;
    });
  }
  const before = { ...a.node.standbyTraffic! };
  const startMs = performance.now();
  const underWay = new Set<Promise<unknown>>();
  for (let sent = 0; performance.now() - startMs < Number(values.seconds) * 1000; ) {
    const due = ((performance.now() - startMs) / 1000) * Number(values.rate);
    for (; sent < due; sent++) {
      const text = Array.from({ length: 4 + draw(12) }, () => WORDS[draw(WORDS.length)]).join(' ');
      const request = send(all[draw(rooms)]!, 'say', { from: `user-${draw(40)}`, text }).finally(() =>
        underWay.delete(request),
      );
      underWay.add(request);
    }
    await pause(2);
  }
  await Promise.all(underWay);
  while (!all.every(follows)) await pause(20);
  const { deltas, deltaBytes, batches } = a.node.standbyTraffic!;
  const outcome: Outcome = {
    rooms,
    stateBytes: a.node.host.replica(all[0]!)!.state.stateBytes,
    deltas: deltas - before.deltas,
    deltaBytes: deltaBytes - before.deltaBytes,
    wireBytes: sentBytes - snapshotBytes,
    snapshotBytes,
    batches: batches - before.batches,
    fullStateBytes,
  };
  for (const { node, listener } of [a, b]) {
    await listener.close();
    await node.stop();
  }
  stores.close();
  return outcome;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const outcomes: Outcome[] = [];
for (const [rooms, ballastBytes] of [
  [10, 10_000],
  [1_000, 10_000],
  [10, 1_000_000],
] as const)
  outcomes.push(await run(rooms, ballastBytes));
if (values.json) console.log(JSON.stringify({ machine, options: values, outcomes }, null, 2));
else {
  console.log(formatMachine(machine));
  console.log(`${values.rate} messages/s for ${values.seconds} s each`);
  console.log(
    '| rooms | state, bytes | deltas | a delta, bytes | on the wire for it | of its size | deltas a batch | full state, bytes a delta | ratio to full state |\n|---|---|---|---|---|---|---|---|---|',
  );
  for (const one of outcomes) {
    const { deltas, deltaBytes, wireBytes, fullStateBytes } = one;
    console.log(
      `| ${one.rooms} | ${one.stateBytes} | ${deltas} | ${(deltaBytes / deltas).toFixed(0)} | ${(wireBytes / deltas).toFixed(0)} | ${((wireBytes / deltaBytes) * 100).toFixed(0)} % | ${(deltas / one.batches).toFixed(1)} | ${(fullStateBytes / deltas).toFixed(0)} | 1 : ${(fullStateBytes / wireBytes).toFixed(0)} |`,
    );
  }
}
process.exit(0);
