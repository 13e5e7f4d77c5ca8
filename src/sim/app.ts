/**
 * The service that simulated users talk to: it counts effects, and finds gaps and repeats in each user's numbers.
 */
import { command, defineApp, query, service } from '../sdk/index.ts';
import type { FinalState } from './history.ts';

export interface TallyReply {
  total: number;
}

const tally = service(
  'tally',
  { version: 1, state: (): FinalState => ({ total: 0, clients: {} }) },
  {
    add: command((ctx, input: { client: string; number: number }): TallyReply => {
      ctx.state.total++;
      ctx.state.clients[input.client] ??= [0, 0, 0];
      const seen = ctx.state.clients[input.client]!;
      if (input.number <= seen[0]) seen[1]++;
      else {
        if (input.number > seen[0] + 1) seen[2]++;
        seen[0] = input.number;
      }
      return { total: ctx.state.total };
    }),
    get: query((ctx): TallyReply => ({ total: ctx.state.total })),
    all: query((ctx): FinalState => ctx.state as FinalState),
  },
);

export const tallyApp = defineApp([tally]);
