/**
 * The service that simulated users talk to: it counts effects, and finds gaps and repeats in each user's numbers.
 */
import { command, defineApp, query, service } from '../sdk/index.ts';
import type { FinalState } from './history.ts';

export interface TallyReply {
  total: number;
}

/** As old as a standby's answer may be. */
export const STALE_MS_MAX = 2_000;

const tally = service(
  'tally',
  {
    version: 1,
    state: (): FinalState => ({ total: 0, clients: {} }),
    standbys: 1,
    staleReads: { atMostMs: STALE_MS_MAX },
  },
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
