/** An app whose query says which process answered it: for tests of where gateways send whom. */
import { command, defineApp, query, service } from '../../../src/sdk/index.ts';

const where = service(
  'where',
  { state: () => ({ value: 0 }) },
  {
    add: command((ctx, amount: number) => (ctx.state.value += amount)),
    who: query(() => process.pid),
  },
);

export const app = defineApp([where]);
