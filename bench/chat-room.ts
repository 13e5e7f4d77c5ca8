/**
 * A chat room that keeps its last 10,000 messages: what one post costs in delta bytes and CPU, by message size.
 *
 * Run: `node bench/chat-room.ts` for a table, `--json` for the same as JSON. Each post pushes a message and shifts the
 * oldest out; the delta must follow the message's size, never the room's.
 */
import { realIo } from '../src/io/real.ts';
import { command, defineApp, query, service } from '../src/sdk/index.ts';
import type { ShardHost, ShardReplica } from '../src/shard/contract.ts';
import { loadApp } from '../src/shard/runtime.ts';

const MESSAGES_KEPT = 10_000;
const POSTS = 400;
const MESSAGE_BYTES = [10, 100, 1_000, 10_000];

interface Message {
  from: string;
  text: string;
  at: number;
}
interface Room {
  messages: Message[];
}

const room = service(
  'room',
  { state: (): Room => ({ messages: [] }) },
  {
    post: command((ctx, message: { from: string; text: string }) => {
      ctx.state.messages.push({ ...message, at: ctx.now });
      if (ctx.state.messages.length > MESSAGES_KEPT) ctx.state.messages.shift();
    }),
    fill: command((ctx, { count, text }: { count: number; text: string }) => {
      for (let i = 0; i < count; i++) ctx.state.messages.push({ from: `user-${i % 50}`, text, at: ctx.now });
    }),
    count: query((ctx) => ctx.state.messages.length),
  },
);

const io = realIo({ logLevel: 'silent' });
const runtime = loadApp(defineApp([room]));

interface Row {
  messageBytes: number;
  stateBytes: number;
  deltaBytesPerPost: number;
  cpuMicrosPerPost: number;
}

async function measure(messageBytes: number): Promise<Row> {
  const deltaBytes: number[] = [];
  let replica: ShardReplica | undefined;
  const host: ShardHost = {
    monotonicMs: io.clock.monotonicMs,
    realtimeMs: io.clock.realtimeMs,
    setTimer: io.clock.setTimer,
    defer: io.clock.defer,
    threadCpuMicros: io.threadCpuMicros,
    random: () => io.random.next(),
    append(seq, delta) {
      deltaBytes.push(delta.length);
      replica?.durable(seq);
    },
    mayAnswer: () => true,
    admit: () => true,
    enterHandler() {},
    leaveHandler() {},
    snapshotWanted() {},
  };
  const shard = 'room/bench';
  replica = await runtime.open({ shard, epoch: 1, role: 'primary', opening: { entries: [] }, host });
  const post = async (handler: string, input: unknown) => {
    const reply = await replica.execute({
      shard,
      handler,
      input: Buffer.from(JSON.stringify(input)),
      method: 'post',
      origin: 'us-east-1',
      userHash: 1,
      hops: 0,
    });
    if (reply.status !== 200) throw new Error(Buffer.from(reply.body).toString());
    return reply;
  };
  // What 10,000 messages of 10 kB would take is over the limit of a state: that room starts with shorter ones.
  const text = 'x'.repeat(Math.min(messageBytes, 1_000));
  const perFill = Math.max(1, Math.floor(500_000 / (text.length + 40)));
  for (let left = MESSAGES_KEPT; left > 0; left -= perFill) {
    await post('fill', { count: Math.min(left, perFill), text });
  }
  const message = { from: 'user-1', text: 'y'.repeat(messageBytes) };
  const posts = Math.min(POSTS, Math.floor(4_000_000 / messageBytes));
  for (let i = 0; i < 100; i++) await post('post', message);
  deltaBytes.length = 0;
  const cpuStart = io.processCpuMicros();
  for (let i = 0; i < posts; i++) await post('post', message);
  const cpuMicrosPerPost = (io.processCpuMicros() - cpuStart) / posts;
  const { body } = await post('count', null);
  if (Buffer.from(body).toString() !== String(MESSAGES_KEPT))
    throw new Error('the room keeps another number');
  const deltaBytesPerPost = deltaBytes.reduce((sum, bytes) => sum + bytes, 0) / deltaBytes.length;
  return { messageBytes, stateBytes: replica.stateBytes, deltaBytesPerPost, cpuMicrosPerPost };
}

const rows: Row[] = [];
for (const messageBytes of MESSAGE_BYTES) rows.push(await measure(messageBytes));
if (process.argv.includes('--json')) {
  console.log(JSON.stringify({ messagesKept: MESSAGES_KEPT, posts: POSTS, rows }));
} else {
  console.log(`A room of ${MESSAGES_KEPT} messages, one posted and one dropped at a time`);
  console.table(
    rows.map((row) => ({
      'message bytes': row.messageBytes,
      'state bytes': row.stateBytes,
      'delta bytes a post': Math.round(row.deltaBytesPerPost),
      'µs CPU a post': Math.round(row.cpuMicrosPerPost),
    })),
  );
}
