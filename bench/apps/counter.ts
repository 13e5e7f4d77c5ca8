/** The service every comparison uses: a counter a key. */
import { command, defineApp, query, service } from 'skein';

const counter = service(
  'counter',
  { version: 1, state: () => ({ value: 0 }) },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
  },
);

export const app = defineApp([counter]);
