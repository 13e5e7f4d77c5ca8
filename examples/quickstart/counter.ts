// npx skein dev --app examples/quickstart/counter.ts --no-load
import { command, defineApp, query, service } from 'skein';

const counter = service(
  'counter',
  { version: 1, state: () => ({ value: 0, by: {} as Record<string, number> }) },
  {
    add: command((ctx, input: { amount: number; who: string }) => {
      ctx.state.value += input.amount;
      ctx.state.by[input.who] = (ctx.state.by[input.who] ?? 0) + input.amount;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
    top: query((ctx) => Object.entries(ctx.state.by).sort((a, b) => b[1] - a[1])[0]),
  },
);

export const app = defineApp([counter]);
