/** Handlers from 5 µs to 5 ms of CPU, of several kinds, some asynchronous: what `bench/metering.ts` loads and replays. */
import { createHash } from 'node:crypto';
import { command, defineApp, query, service } from 'skein';

const BLOCK = Buffer.alloc(4_096, 1);

/** Hashes blocks of 4 kB, about 4 µs each: work outside JavaScript, the same however far the compiler has come. */
function crunch(blocks: number): number {
  const hash = createHash('sha256');
  for (let i = 0; i < blocks; i++) hash.update(BLOCK);
  return hash.digest().readUInt32LE();
}

const fields = service(
  'fields',
  { state: () => ({ values: {} as Record<string, number> }) },
  {
    put: command((ctx, { field, value }: { field: string; value: number }) => {
      ctx.state.values[field] = value;
    }),
    get: query((ctx, field: string) => ctx.state.values[field] ?? 0),
  },
);

const room = service(
  'room',
  { state: () => ({ messages: [] as { from: string; text: string }[] }) },
  {
    post: command((ctx, message: { from: string; text: string }) => {
      ctx.state.messages.push(message);
      if (ctx.state.messages.length > 300) ctx.state.messages.shift();
      return ctx.state.messages.length;
    }),
    latest: query((ctx, count: number) => ctx.state.messages.slice(-count)),
  },
);

const tally = service(
  'tally',
  { state: () => ({ runs: 0, last: 0 }) },
  {
    /** CPU alone. */
    crunch: command((ctx, blocks: number) => {
      ctx.state.runs++;
      ctx.state.last = crunch(blocks);
    }),
    /** Allocates and compares. */
    sort: query((_, count: number) => {
      const list = Array.from({ length: count }, (_, i) => ({ rank: Math.imul(i, 0x9e3779b1) >>> 0 }));
      return list.sort((a, b) => a.rank - b.rank)[0]?.rank ?? 0;
    }),
    /** Its work comes after awaits. */
    later: command(async (ctx, blocks: number) => {
      await null;
      const first = crunch(blocks / 2);
      await new Promise((resolve) => setImmediate(resolve));
      ctx.state.runs++;
      ctx.state.last = first ^ crunch(blocks / 2);
    }),
  },
);

export const app = defineApp([fields, room, tally]);
