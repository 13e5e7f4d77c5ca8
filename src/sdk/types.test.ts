import * as v from 'valibot';
import { describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { type Client, command, defineApp, query, service } from './index.ts';

interface Message {
  text: string;
  at?: number;
}
interface RoomState {
  messages: Message[];
}

const counter = service(
  'counter',
  { state: () => ({ value: 0 }) },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
    set: command(v.object({ to: v.pipe(v.string(), v.transform(Number)) }), (ctx, input) => {
      ctx.state.value = input.to;
    }),
    later: command(z.object({ to: z.number().default(1) }), async (ctx, input) => {
      ctx.state.value = input.to;
      return { at: new Date(), ok: true as const };
    }),
  },
);
const room = service(
  'room',
  { state: (): RoomState => ({ messages: [] }) },
  {
    post: command((ctx, message: Message) => ctx.state.messages.push(message)),
    list: query((ctx, limit: number | undefined) => ctx.state.messages.slice(-(limit ?? 10))),
  },
);
const app = defineApp([counter, room]);
declare const client: Client<typeof app>;

// Never called: these are statements for the compiler, checked by `tsc`.
function typesFlowFromHandlersToClient(): void {
  const shard = client.counter('k');
  expectTypeOf(shard.add(1)).resolves.toEqualTypeOf<number>();
  expectTypeOf(shard.get()).resolves.toEqualTypeOf<number>();
  expectTypeOf(shard.set({ to: '3' })).resolves.toEqualTypeOf<undefined>();
  expectTypeOf(shard.later({})).resolves.toEqualTypeOf<{ at: string; ok: true }>();
  expectTypeOf(client.room('r').list()).resolves.toExtend<readonly { text: string; at?: number }[]>();
  expectTypeOf(shard.add.detailed(1)).resolves.toExtend<{ value: number; seq: number | undefined }>();
  client.room('r').list(3, { minSeq: 4 });
  // @ts-expect-error a string is not an amount
  shard.add('1');
  // @ts-expect-error the amount is missing
  shard.add();
  // @ts-expect-error the schema takes a string here
  shard.set({ to: 3 });
  // @ts-expect-error get takes nothing
  shard.get(1);
  // @ts-expect-error no such handler
  shard.remove();
  // @ts-expect-error no such service
  client.cart('k');
  // @ts-expect-error keys are strings
  client.counter(1);
}

function stateIsJsonByType(): void {
  // @ts-expect-error a Date is not JSON
  service('a', { state: () => ({ at: new Date() }) }, { get: query((ctx) => ctx.state.at) });
  // @ts-expect-error neither is a Map, however deep
  service('b', { state: () => ({ list: [{ map: new Map<string, string>() }] }) }, {});
  // @ts-expect-error nor a bigint
  service('c', { state: () => ({ n: 1n }) }, {});
  service('d', { state: (): { a?: string; b: { c: null }[] } => ({ b: [] }) }, {});
}

function queriesDoNotWrite(): void {
  service(
    'e',
    { state: () => ({ list: [1] }) },
    {
      bad: query((ctx) => {
        // @ts-expect-error readonly
        ctx.state.list.push(2);
        // @ts-expect-error readonly
        ctx.state.list = [];
      }),
    },
  );
}

function effectsAreTyped(): void {
  service(
    'f',
    { state: () => ({ n: 1 }) },
    {
      pay: command(async (ctx) => {
        expectTypeOf(await ctx.fetch('https://a.example', { method: 'POST' })).toEqualTypeOf<Response>();
        ctx.afterCommit(async ({ fetch, seq, key, signal }) => {
          expectTypeOf(seq).toEqualTypeOf<number>();
          expectTypeOf(key).toEqualTypeOf<string>();
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
          await fetch(new URL('https://a.example'));
        });
        // @ts-expect-error a body that cannot be repeated
        ctx.fetch('https://a.example', { method: 'POST', body: new ReadableStream() });
        // @ts-expect-error shards do not call each other from a handler
        ctx.call('other', 'k', 'add', 1);
      }),
      look: query(async (ctx) => {
        await ctx.fetch('https://a.example');
        // @ts-expect-error a query commits nothing
        ctx.afterCommit(() => {});
        // @ts-expect-error shards do not call each other from a handler
        ctx.call('other', 'k', 'get');
      }),
    },
  );
}

describe('types', () => {
  it('flow from handlers to the client (checked by the compiler)', () => {
    expectTypeOf(counter.name).toEqualTypeOf<'counter'>();
    void [typesFlowFromHandlersToClient, stateIsJsonByType, queriesDoNotWrite, effectsAreTyped];
  });
});
