/** A counter with as many standbys and as much state beside it as the environment says. */
import { command, defineApp, query, service } from 'skein';

const counter = service(
  'counter',
  {
    version: 1,
    state: () => ({ value: 0, ballast: [] as string[] }),
    standbys: Number(process.env.BENCH_STANDBYS ?? 0),
  },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    /** Makes the state about so many bytes larger; looks random, so that nothing compresses it away. */
    fill: command((ctx, bytes: number) => {
      for (let left = bytes; left > 0; left -= 1_000) {
        let text = '';
        while (text.length < 1_000) text += Math.floor(ctx.random() * 2 ** 48).toString(36);
        ctx.state.ballast.push(text.slice(0, 1_000));
      }
      return ctx.state.ballast.length;
    }),
    get: query((ctx) => ctx.state.value),
  },
);

export const app = defineApp([counter]);
