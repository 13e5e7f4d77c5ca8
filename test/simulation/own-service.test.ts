/**
 * Test plan: what a user of `skein/testing` does with a service of their own, as docs/simulation.md shows it: it passes;
 * and one that breaks the rules, by keeping state outside its shard, is found, made small and can be repeated.
 */
import { command, defineApp, query, service } from 'skein';
import { simulate, simulateMany, type Workload } from 'skein/testing';
import { expect, it } from 'vitest';
import { app } from '../../examples/quickstart/counter.ts';

const workload: Workload = {
  shards: [
    { service: 'counter', key: 'apples' },
    { service: 'counter', key: 'pears' },
  ],
  probe: { handler: 'get' },
  next: ({ name, random }) => ({
    service: 'counter',
    key: random.next() < 0.5 ? 'apples' : 'pears',
    ...(random.next() < 0.6
      ? { handler: 'add', input: { amount: 1 + Math.floor(random.next() * 9), who: name } }
      : { handler: 'get' }),
  }),
};

it('a service passes: its replies are those of one shard alone, in some order', {
  timeout: 120_000,
}, async () => {
  const report = await simulate(app, {
    seed: 7,
    workload,
    users: 3,
    faultsMs: 10_000,
    invariants: [
      {
        name: 'nothing acknowledged is missing',
        check: ({ operations, finals }) =>
          [...finals].flatMap(([shard, value]) => {
            const added = operations
              .filter((one) => one.shard === shard && one.handler === 'add' && one.status === 200)
              .reduce((sum, one) => sum + (one.input as { amount: number }).amount, 0);
            return (value as number) >= added ? [] : [`${shard} shows ${value}, ${added} were acknowledged`];
          }),
      },
    ],
  });
  expect(report.violations).toEqual([]);
  expect(report.undecided).toEqual([]);
  expect(report.acknowledged).toBeGreaterThan(100);
  expect(Object.keys(report.faults).length).toBeGreaterThan(2);
});

it('an invariant that does not hold is reported by its name', { timeout: 120_000 }, async () => {
  const report = await simulate(app, {
    seed: 1,
    workload,
    users: 1,
    faultsMs: 1_000,
    invariants: [{ name: 'never', check: () => ['as expected'] }],
  });
  expect(report.violations).toEqual([{ rule: 'invariant', text: 'never: as expected' }]);
});

it('a service that keeps state outside its shard is found, made small and repeated', {
  timeout: 300_000,
}, async () => {
  let outside = 0;
  const leaky = defineApp([
    service(
      'counter',
      { version: 1, state: () => ({ value: 0 }) },
      {
        add: command((ctx) => {
          outside++;
          ctx.state.value = outside;
          return ctx.state.value;
        }),
        get: query((ctx) => ctx.state.value),
      },
    ),
  ]);
  const options = { workload, users: 1, faultsMs: 1_000, faultEveryMs: 400 };
  const failure = await simulateMany(leaky, { ...options, seeds: 2 });
  expect(failure?.report.violations[0]?.rule).toBe('not-linearizable');
  expect(failure?.keep.faults).toEqual([]);
  expect(failure?.keep.clients?.length).toBeLessThanOrEqual(2);
  expect(failure?.text).toContain('again: simulate(app, { ..., seed: 1, keep: {"faults":[]');
});

it('a workload that does not fit the app is a mistake of the test, and says so', {
  timeout: 60_000,
}, async () => {
  const wrong: Workload = {
    ...workload,
    next: () => ({ service: 'counter', key: 'apples', handler: 'nothing' }),
  };
  await expect(
    simulate(app, { seed: 1, workload: { ...wrong, probe: { handler: 'add' } }, faultsMs: 100 }),
  ).rejects.toThrow('counter.nothing');
});
