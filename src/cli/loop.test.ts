import { expect, it } from 'vitest';
import type { Decision, Plan } from '../model/loop.ts';
import { planText } from './loop.ts';

const decision: Decision = {
  tick: 7,
  atMs: 0,
  mode: 'auto',
  outcome: 'planned',
  reason: '1 move',
  tookMs: { forecast: 1, placement: 1 },
};
const plan: Plan = {
  generation: 3,
  parent: 2,
  madeAtMs: 0,
  moves: [
    {
      shard: 'room/a',
      source: 'e',
      target: 'u',
      cell: 'c',
      epoch: 1,
      priority: 'improve',
      bytes: 1,
      reason: { text: 'why', gainUsdPerHour: 2, costUsdPerHour: 1, latencyMsNow: 80, latencyMsThen: 1 },
    },
  ],
};

it('plan show tells how good the target is, what cannot be kept and why, and what follows', () => {
  const last: Decision = {
    ...decision,
    certified: { gap: 0.031, lowerBoundUsdPerHour: 12 },
    infeasible: [
      {
        constraint: 'jurisdiction',
        count: 4,
        examples: ['room/law', 'room/b', 'room/c', 'room/d'],
        remedy: 'add or open a node that may',
      },
    ],
    nodeSized: [{ shard: 'room/hot', share: 0.85, neighbours: 2 }],
  };
  const later = [{ shard: 'room/b', target: 'u', startInS: 2, doneInS: 14, late: true }];
  const text = planText({ plan: { ...plan, later }, decision, last });
  expect(text).toMatch(/at most 3.1 % above the best there can be; no placement costs less than/);
  const wide = { ...last, certified: { gap: 1.78, lowerBoundUsdPerHour: 12 } };
  expect(planText({ plan, decision, last: wide })).toMatch(/not bounded tightly: a few shards fill a node/);
  expect(text).toMatch(
    /cannot be kept: jurisdiction, 4 \(room\/law, room\/b, room\/c, ...\): add or open a node/,
  );
  expect(text).toMatch(/room\/hot needs 85 % of the largest node: 2 others are on its node/);
  expect(text).toMatch(/then 1 more as budgets allow, the first \(room\/b to u\) in 2.*; 1 of them late/);
});

it('plan show says what stands in the way also where no plan has held a move', () => {
  const infeasible = [
    { constraint: 'capacity', count: 1, examples: ['n1'], remedy: 'more cpu in eu-west-1' },
  ];
  expect(planText({ last: { ...decision, infeasible } })).toMatch(
    /^no plan has held a move yet.*\ncannot be kept: capacity, 1 \(n1\): more cpu in eu-west-1\n$/,
  );
});
