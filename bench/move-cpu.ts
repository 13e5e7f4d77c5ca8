/**
 * What a gigabyte of a move's bytes takes of each end's CPU, by kinds of state: as nodes meter it and report it to the controller,
 * and beside it what their event loops took more than idle meanwhile, which is everything that the meter may miss.
 *
 *   node --conditions=skein-source bench/move-cpu.ts [--copies 20] [--json]
 *
 * Real processes: store, two nodes and a gateway of a local cluster, no controller and no load. Each state is copied again and again by
 * the calls that a migration begins with (`replica.prepare` until it follows, then `replica.drop`), first a few times uncounted.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { command, defineApp, service } from 'skein';
import type { NodeRecord } from '../src/model/records.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { startTwoNodes } from './lib/two-nodes.ts';

const FILL_BYTES = 900_000;
const FILLS = 17;
const UNCOUNTED = 3;
const IDLE_MS = 4_000;

/** Elements of a state, and about how many bytes each has. */
const KINDS = {
  'texts of 10 kB': { bytes: 10_000, make: (i: number) => `${i}`.padEnd(10_000, '.') },
  'rows of 200 B': { bytes: 200, make: (i: number) => `${i}`.padEnd(200, '.') },
  'objects of five fields': {
    bytes: 90,
    make: (i: number) => ({ id: i, name: `user ${i}`, at: 1.8e12 + i, tags: ['a', 'b'], score: i / 7 }),
  },
} as const;
type Kind = keyof typeof KINDS;

const store = service(
  'store',
  {
    version: 1,
    state: () => ({ rows: [] as (string | ReturnType<(typeof KINDS)['objects of five fields']['make']>)[] }),
  },
  {
    fill: command((ctx, kind: Kind) => {
      const { bytes, make } = KINDS[kind];
      for (let filled = 0; filled < FILL_BYTES; filled += bytes)
        ctx.state.rows.push(make(ctx.state.rows.length));
      return ctx.state.rows.length;
    }),
  },
);

export const app = defineApp([store]);
export default app;

interface Figures {
  kind: Kind;
  stateBytes: number;
  /** Core-seconds a gigabyte: metered, and by the loop. */
  out: { metered: number; loop: number };
  in: { metered: number; loop: number };
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function measure(copies: number): Promise<Figures[]> {
  const { gateway, peers, endsOf, close } = await startTwoNodes(fileURLToPath(import.meta.url));
  try {
    const figures: Figures[] = [];
    for (const [number, kind] of (Object.keys(KINDS) as Kind[]).entries()) {
      const shard = `store/${number}`;
      for (let i = 0; i < FILLS; i++) {
        const reply = await fetch(`${gateway}/${shard}/fill`, {
          method: 'POST',
          body: JSON.stringify(kind),
        });
        if (!reply.ok) throw new Error(await reply.text());
      }
      const { from, to } = await endsOf(shard);
      let stateBytes = 0;
      const copyAll = async (name: string, count: number) => {
        for (let i = 0; i < count; i++) {
          const migration = `${name}-${number}-${i}`;
          const peer = peers.peer(to.address);
          let status = await peer.call('replica.prepare', {
            migration,
            shard,
            source: from.processId,
            sourceAddress: from.address,
            bytesPerSecond: 64 * 1024 * 1024,
          });
          while (status.phase !== 'following') {
            if (status.phase === 'failed') throw new Error(status.error);
            status = await peer.call('replica.status', { shard, waitMs: 1_000 });
          }
          stateBytes = status.bytesTotal;
          for (const { address } of [to, from])
            await peers.peer(address).call('replica.drop', { migration, shard });
        }
      };
      const sample = async () => {
        const of = async ({ address }: NodeRecord) => {
          const { node, copies: work } = await peers.peer(address).call('node.samples', { sinceMs: 0 });
          return {
            loop: node.loopCpuSeconds / (node.stepMs / 1_000),
            stepS: node.stepMs / 1_000,
            work: work!,
          };
        };
        return { from: await of(from), to: await of(to) };
      };
      await copyAll('uncounted', UNCOUNTED);
      await sample();
      await pause(IDLE_MS);
      const idle = await sample();
      await copyAll('counted', copies);
      const after = await sample();
      const perGb = (end: 'from' | 'to', way: 'in' | 'out') => {
        const [before, now] = [idle[end], after[end]];
        const bytes = now.work[way].bytes - before.work[way].bytes;
        return {
          metered: ((now.work[way].cpuSeconds - before.work[way].cpuSeconds) / bytes) * 1e9,
          loop: (((now.loop - before.loop) * now.stepS) / bytes) * 1e9,
        };
      };
      figures.push({ kind, stateBytes, out: perGb('from', 'out'), in: perGb('to', 'in') });
    }
    return figures;
  } finally {
    await close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { copies: { type: 'string', default: '20' }, json: { type: 'boolean', default: false } },
  });
  const machine = machineFacts();
  const figures = await measure(Number(values.copies));
  if (values.json) console.log(JSON.stringify({ machine, figures }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log(
      '| state | MB | source: metered, core-s a GB | of its loop | target: metered | of its loop |',
    );
    console.log('|---|---|---|---|---|---|');
    for (const figure of figures) {
      const cells = [figure.out.metered, figure.out.loop, figure.in.metered, figure.in.loop];
      console.log(
        `| ${figure.kind} | ${(figure.stateBytes / 1e6).toFixed(1)} | ${cells.map((cell) => cell.toFixed(1)).join(' | ')} |`,
      );
    }
  }
}
