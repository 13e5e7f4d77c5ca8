/**
 * Every rule of ownership, taken out: the run that shows it, found by search or written by hand, and the checker that
 * sees it. `mutations.test.ts` runs each with and without the rule; `docs/simulation.md` holds the same table.
 */
import type { Mutation } from '../../src/model/mutations.ts';
import type { SimCluster } from '../../src/sim/cluster.ts';
import type { Rule } from '../../src/sim/history.ts';
import type { Observer } from '../../src/sim/observer.ts';
import type { Fault } from '../../src/sim/schedule.ts';
import type { InternalOptions } from '../../src/sim/simulate.ts';
import { tallyWorkload } from '../../src/sim/tally.ts';
import type { Workload } from '../../src/sim/workload.ts';

export interface Proof {
  mutation: Mutation;
  /** The rule, and the row of what happens without it. */
  rule: string;
  /** One of them must be reported. */
  seenAs: Rule[];
  options: InternalOptions;
}

type Drawn = Omit<Fault, 'number'>;

const fault = (name: Fault['name'], atMs: number, on: string, other = '', forMs = 0, grade = 0.5): Drawn => ({
  name,
  atMs,
  on,
  other,
  forMs,
  grade,
});
const numbered = (...faults: Drawn[]): Fault[] =>
  faults.sort((a, b) => a.atMs - b.atMs).map((each, number) => ({ number, ...each }));

const SHARDS = 8;
const CONTROL = 'store-us-east-1';
const NODES = [
  'us-east-1-n1',
  'eu-west-1-n1',
  'us-east-1-n2',
  'ap-northeast-1-n1',
  'eu-west-1-n2',
  'ap-northeast-1-n2',
];
/** One node after the other cannot reach the control store for longer than its lease, and can reach its cell. */
const cutFromControl = NODES.map((node, i) => fault('partition', 1_000 + i * 3_200, node, CONTROL, 6_000));
/** Shorter, and news of what happened meanwhile come late. */
const cutAndLateNews = NODES.flatMap((node, i) => [
  fault('partition', 1_000 + i * 6_000, node, CONTROL, 3_900),
  fault('late watch', 4_000 + i * 6_000, CONTROL, '', 2_000, 0.9),
]);
/** The same, and the cell is slow while others take over. */
const cutAndSlowCell = NODES.flatMap((node, i) => [
  fault('partition', 1_000 + i * 3_200, node, CONTROL, 6_000),
  fault('slow store', 3_000 + i * 3_200, `store-${node.slice(0, node.lastIndexOf('-'))}`, '', 3_000, 0.5),
]);
/** Clocks at the ends of what is allowed, and a node that loses the control store again and again, but not its cell. */
const cutWithDrift = [
  fault('clock drift', 10, CONTROL, '', 0, 0.999),
  fault('clock drift', 10, 'eu-west-1-n1', '', 0, 0),
  ...[0, 1].map((i) => fault('partition', 1_000 + i * 17_000, 'eu-west-1-n1', CONTROL, 13_000)),
];
/** One node loses the control store for a little longer than its lease; that it is back is heard late. */
const cutAndLateReturn = [0, 1, 2, 3, 4].flatMap((i) => [
  fault('partition', 1_000 + i * 10_500, 'eu-west-1-n1', CONTROL, 3_900),
  fault('late watch', 4_200 + i * 10_500, CONTROL, '', 2_000, 0.9),
]);

/** Clients that hold on to a node do one thing, clients of gateways another: so a deposed owner shows soon. */
function divided(
  direct: { handler: string; thinkMs: number },
  atGateways: { handler: string; thinkMs: number },
): Workload {
  const workload = tallyWorkload(SHARDS);
  return {
    ...workload,
    next(client) {
      const { name, random, number } = client;
      const { key } = workload.next(client);
      const isDirect = Number(name.slice(name.lastIndexOf('u') + 1)) % 3 === 2;
      const { handler, thinkMs } = isDirect ? direct : atGateways;
      const input = handler === 'add' ? { name: `${name}:${number}` } : undefined;
      return { service: 'tally', key, handler, input, thinkMs: thinkMs * (0.5 + random.next()) };
    },
  };
}
const oldWrites = divided({ handler: 'add', thinkMs: 40 }, { handler: 'get', thinkMs: 600 });
const oldReads = divided({ handler: 'get', thinkMs: 40 }, { handler: 'add', thinkMs: 250 });
/** One client reads at the node it holds on to, `eu-west-1-n1`; all others write. */
function oneReader(readMs: number, writeMs: number): Workload {
  const workload = tallyWorkload(SHARDS);
  return {
    ...workload,
    next(client) {
      const { name, random, number } = client;
      const { key } = workload.next(client);
      if (name === 'eu-west-1-u2') return { service: 'tally', key, handler: 'get', thinkMs: readMs };
      const thinkMs = writeMs * (0.5 + random.next());
      return { service: 'tally', key, handler: 'add', input: { name: `${name}:${number}` }, thinkMs };
    },
  };
}
const oldLooks = divided({ handler: 'look', thinkMs: 40 }, { handler: 'add', thinkMs: 250 });

/** The first snapshot of each shard that its owner stores comes 9 s late; then everything starts anew. */
function lateSnapshots(cluster: SimCluster): void {
  const held = new Set<string>();
  let landed = false;
  cluster.storeHooks.push((_, { method, payload }) => {
    const { shard } = payload as { shard: string };
    if (method !== 'cell.putSnapshot' || held.has(shard)) return undefined;
    held.add(shard);
    return async (run) => {
      await cluster.world.sleep(9_000);
      const answer = await run();
      if (!landed)
        for (const name of [...cluster.slots.keys()]) if (name !== 'supervisor') cluster.crash(name);
      landed = true;
      return answer;
    };
  });
}

/** What deletes the log of a shard that moved away comes 6 s late: the shard may be back by then. */
function lateDeletes(cluster: SimCluster): void {
  cluster.storeHooks.push((_, { method }) => {
    if (method !== 'cell.deleteLog') return undefined;
    return (run) => cluster.world.sleep(6_000).then(run);
  });
}

/**
 * A node's first registration and its second grant are held back at the store; the third attempt succeeds. Then its
 * lease ends while it is cut off, it registers again under another lease, and what was held back lands.
 */
function hungRegistration(cluster: SimCluster, _: Observer): void {
  const name = 'eu-west-1-n1';
  const { world } = cluster;
  const landsAtMs = world.nowMs + 19_000;
  let grants = 0;
  let registrations = 0;
  cluster.storeHooks.push((_store, { method, payload, identity }) => {
    if (!identity.startsWith(`${name}.2`)) return undefined;
    const late = (afterMs: number) => (run: () => unknown) =>
      world.sleep(landsAtMs + afterMs - world.nowMs).then(run);
    if (method === 'control.grantLease' && ++grants === 2) return late(0);
    const { operations = [] } = payload as { operations?: { put?: string }[] };
    if (method === 'control.transact' && operations[0]?.put?.startsWith('node/') && ++registrations === 1)
      return late(50);
    return undefined;
  });
  cluster.crash(name);
  world.after(12_500, () => cluster.partition(name, CONTROL));
  world.after(17_000, () => cluster.heal());
}

/** Shards move now and then, so that every node comes to own some. */
const calm = { shards: SHARDS, movesPerSecond: 1 } as const;

export const PROOFS: Proof[] = [
  {
    mutation: 'registration-overwrites',
    rule: '1: the node key is created only if absent',
    seenAs: ['stale'],
    options: {
      seed: 3,
      schedule: numbered(fault('late watch', 20_500, CONTROL, '', 4_000, 0.5)),
      script: hungRegistration,
      workload: oldReads,
      faultsMs: 28_000,
      shards: 8,
      movesPerSecond: 3,
    },
  },
  {
    mutation: 'takeover-from-the-living',
    rule: '1: a takeover compares that the node key is absent',
    seenAs: ['stale'],
    options: {
      seed: 3,
      schedule: numbered(...cutAndLateReturn),
      workload: oneReader(40, 8_000),
      faultsMs: 54_000,
      ...calm,
    },
  },
  {
    mutation: 'no-catch-up',
    rule: '1: who registers again reads all assignments before it answers by lease',
    seenAs: ['stale'],
    options: {
      seed: 1,
      schedule: numbered(...cutAndLateNews),
      workload: oldReads,
      faultsMs: 38_000,
      ...calm,
    },
  },
  {
    mutation: 'process-id-reused',
    rule: '1: a process id is unique per start',
    seenAs: ['opened-late', 'forked'],
    options: {
      seed: 1,
      faultNames: ['host lost', 'late watch', 'late writes'],
      faultEveryMs: 300,
      faultsMs: 50_000,
      shards: 4,
      movesPerSecond: 3,
    },
  },
  {
    mutation: 'epoch-reopened',
    rule: '1: an epoch is opened once',
    seenAs: ['forked'],
    options: {
      seed: 3,
      faultNames: ['late writes', 'late answers', 'store pause', 'partition'],
      faultEveryMs: 400,
      shards: 2,
      movesPerSecond: 0,
    },
  },
  {
    mutation: 'cut-off-owner-stays',
    rule: '1: an owner that cannot reach its cell swaps the primary out',
    seenAs: ['stuck'],
    options: {
      seed: 1,
      schedule: numbered(fault('partition', 3_000, 'eu-west-1-n1', 'store-eu-west-1', 1_000_000)),
      lasting: true,
      ...calm,
    },
  },
  {
    mutation: 'log-read-apart-from-fence',
    rule: '2: fence and log are read in one transaction',
    seenAs: ['opened-late'],
    options: {
      seed: 1,
      faultNames: ['pause beyond the lease', 'isolation'],
      faultEveryMs: 300,
      shards: 6,
      movesPerSecond: 1,
    },
  },
  {
    mutation: 'append-over-a-gap',
    rule: '3: seq = end + 1',
    seenAs: ['stuck', 'forked', 'duplicated'],
    options: {
      seed: 1,
      faultNames: ['late writes', 'node crash'],
      faultEveryMs: 400,
      shards: 2,
      movesPerSecond: 1,
    },
  },
  {
    mutation: 'queries-ungated',
    rule: '4: queries and retried commands wait in the gate',
    seenAs: ['stale', 'lost'],
    options: { seed: 1 },
  },
  {
    mutation: 'no-delta-unproven',
    rule: '4: a command without a delta, or one that throws, is answered as a query',
    seenAs: ['stale'],
    options: { seed: 1, schedule: numbered(...cutFromControl), workload: oldLooks, ...calm },
  },
  {
    mutation: 'swap-without-version',
    rule: '5: the version in the hand-off swap',
    seenAs: ['assignment-forked'],
    options: {
      seed: 1,
      faultNames: ['late writes', 'late answers', 'failing store'],
      faultEveryMs: 800,
      shards: 4,
      movesPerSecond: 4,
    },
  },
  {
    mutation: 'unseal-without-touch',
    rule: '6: the touching swap before unsealing',
    seenAs: ['forked', 'lost', 'stale'],
    options: {
      seed: 1,
      faultNames: ['late writes', 'late answers', 'failing store'],
      faultEveryMs: 800,
      shards: 4,
      movesPerSecond: 4,
    },
  },
  {
    mutation: 'serve-before-swap',
    rule: '5: the target serves when the swap is known',
    seenAs: ['two-primaries', 'forked', 'lost'],
    options: { seed: 1, schedule: numbered(...cutFromControl), shards: SHARDS, movesPerSecond: 6 },
  },
  {
    mutation: 'swap-before-appends-resolve',
    rule: '9: appends are resolved before the swap',
    seenAs: ['lost', 'stale', 'incomplete-copy'],
    options: { seed: 2 },
  },
  {
    mutation: 'copy-before-fence',
    rule: '9: the new fence before the copy',
    seenAs: ['unfenced'],
    options: { seed: 1 },
  },
  {
    mutation: 'tail-not-copied',
    rule: '9: contiguity to N',
    seenAs: ['lost', 'incomplete-copy'],
    options: { seed: 1 },
  },
  {
    mutation: 'maintenance-unfenced',
    rule: '8: fenced maintenance',
    seenAs: ['stuck', 'lost', 'forked'],
    options: {
      seed: 1,
      schedule: [],
      script: lateDeletes,
      shards: 2,
      movesPerSecond: 3,
    },
  },
  {
    mutation: 'snapshot-goes-back',
    rule: '8: monotone snapshots',
    seenAs: ['stuck', 'lost'],
    options: {
      seed: 1,
      schedule: [],
      script: lateSnapshots,
      shards: 2,
      movesPerSecond: 0,
    },
  },
  {
    mutation: 'stream-before-durable',
    rule: '7: durable-only streams',
    seenAs: ['stale', 'forked'],
    options: {
      seed: 1,
      faultNames: ['failing store', 'late writes', 'partition'],
      faultEveryMs: 500,
      shards: 4,
      movesPerSecond: 4,
    },
  },
  {
    mutation: 'append-unfenced',
    rule: '3: the fence check of an append',
    seenAs: ['stale', 'forked'],
    options: { seed: 2, schedule: numbered(...cutFromControl), workload: oldWrites, ...calm },
  },
  {
    mutation: 'answer-unproven',
    rule: '4: the fence check of an answer without a lease',
    seenAs: ['stale'],
    options: { seed: 2, schedule: numbered(...cutFromControl), workload: oldReads, ...calm },
  },
  {
    mutation: 'read-before-raise',
    rule: '2: raising before reading',
    seenAs: ['stale', 'lost', 'forked'],
    options: { seed: 1, schedule: numbered(...cutAndSlowCell), workload: oldWrites, ...calm },
  },
  {
    mutation: 'commands-ungated',
    rule: '4: the output gate',
    seenAs: ['lost'],
    options: { seed: 1 },
  },
  {
    mutation: 'no-lease-margin',
    rule: '4: the lease margin',
    seenAs: ['stale'],
    options: {
      seed: 2,
      schedule: numbered(...cutWithDrift),
      workload: oneReader(5, 600),
      faultsMs: 34_000,
      leaseTtlMs: 9_000,
      ...calm,
    },
  },
  {
    mutation: 'window-not-in-snapshot',
    rule: '8: the idempotency window is in the snapshot',
    seenAs: ['duplicated'],
    options: { seed: 3 },
  },
];
