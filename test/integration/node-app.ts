/** The app of the node tests: a counter that can also block the event loop for ever. */
import { command, defineApp, query, service } from '../../src/sdk/index.ts';

const counter = service(
  'counter',
  { version: 1, state: () => ({ value: 0 }) },
  {
    add: command((ctx) => {
      ctx.state.value += 1;
      return ctx.state.value;
    }),
    spin: command(() => {
      for (;;);
    }),
    quit: command(() => {
      process.exit(3);
    }),
    get: query((ctx) => ctx.state.value),
  },
);

export const app = defineApp([counter]);
