/** The rooms of the example, and a service whose handlers misbehave in every way a handler can. */
import { setTimeout as sleep } from 'node:timers/promises';
import { command, defineApp, query, service } from 'skein';
import { app as rooms } from '../../../examples/rooms/app.ts';

const trap = service(
  'trap',
  { version: 1, state: () => ({ value: 0 }), handlerMsMax: 250 },
  {
    add: command(({ state }) => {
      state.value += 1;
      return state.value;
    }),
    get: query(({ state }) => state.value),
    throwing: command(({ state }) => {
      state.value += 100;
      throw new Error('it breaks');
    }),
    rejecting: command(async ({ state }) => {
      state.value += 100;
      await sleep(1);
      throw new Error('it breaks later');
    }),
    neverEnding: command(async ({ state }) => {
      state.value += 100;
      await new Promise(() => {});
    }),
    looping: command(({ state }) => {
      state.value += 100;
      for (;;);
    }),
  },
);

export const app = defineApp([...rooms.services, trap]);
