/**
 * What requests of a busy node wait while a large state is copied off it or onto it: with copies that give way, at full speed,
 * and without a copy.
 *
 *   node --conditions=skein-source bench/copies.ts [--copies 12] [--busy 0.6] [--spin-ms 2] [--json]
 *
 * Real processes: store, two nodes and a gateway of a local cluster, no controller. One node serves a query that spins, sent
 * by a Poisson process so that it is busy for the given share; the state, many small rows, is copied again and again
 * by the calls that a migration begins with (`replica.prepare` until it follows, then `replica.drop`). The three kinds take turns,
 * so that whatever else the machine does meets all of them alike.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { command, defineApp, query, service } from 'skein';
import { Pool } from 'undici';
import { SeededRandom } from '../src/io/random.ts';
import { quantile } from './lib/load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { startTwoNodes } from './lib/two-nodes.ts';

const STATE_BYTES = 15_000_000;
const PAD_BYTES = 900_000;
const ROW_BYTES = 200;
const LARGE = 'large';
const KEYS_MAX = 100;
const SETTLE_MS = 1_500;
const IDLE_MS = 1_500;

const store = service(
  'store',
  { version: 1, state: () => ({ rows: [] as string[] }) },
  {
    fill: command((ctx) => {
      for (let bytes = 0; bytes < PAD_BYTES; bytes += ROW_BYTES)
        ctx.state.rows.push(`${ctx.state.rows.length}`.padEnd(ROW_BYTES, '.'));
      return ctx.state.rows.length;
    }),
    spin: query((_ctx, ms: number) => {
      const untilMs = performance.now() + ms;
      while (performance.now() < untilMs);
      return ms;
    }),
  },
);

export const app = defineApp([store]);
export default app;

const KINDS = ['no copy', 'gives way', 'full speed'] as const;
type Kind = (typeof KINDS)[number];

interface Figures {
  busy: 'source' | 'target';
  kind: Kind;
  requests: number;
  failed: number;
  waitMs: { p50: number; p90: number; p99: number; max: number };
  copyMsP50: number | undefined;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function measure(options: { copies: number; busy: number; spinMs: number }): Promise<Figures[]> {
  const { gateway, peers, endsOf, close } = await startTwoNodes(fileURLToPath(import.meta.url));
  const pool = new Pool(gateway, { connections: 64, pipelining: 1 });
  const post = async (key: string, handler: string, input: unknown) => {
    const startMs = performance.now();
    const reply = await pool.request({
      method: 'POST',
      path: `/store/${key}/${handler}`,
      body: JSON.stringify(input),
      headers: { 'content-type': 'application/json' },
    });
    await reply.body.dump();
    return { status: reply.statusCode, tookMs: performance.now() - startMs };
  };
  try {
    for (let bytes = 0; bytes < STATE_BYTES; bytes += PAD_BYTES) await post(LARGE, 'fill', null);
    const { from, to } = await endsOf(`store/${LARGE}`);

    let migrations = 0;
    const copy = async (giveWay: boolean) => {
      const migration = `m${++migrations}`;
      const shard = `store/${LARGE}`;
      const peer = peers.peer(to.address);
      // Asked for nothing for two minutes, it would leave memory.
      await post(LARGE, 'spin', 0);
      const startMs = performance.now();
      let status = await peer.call('replica.prepare', {
        migration,
        shard,
        source: from.processId,
        sourceAddress: from.address,
        bytesPerSecond: 64 * 1024 * 1024,
        ...(giveWay ? {} : { giveWay: false as const }),
      });
      while (status.phase !== 'following') {
        if (status.phase === 'failed') throw new Error(status.error);
        status = await peer.call('replica.status', { shard, waitMs: 1_000 });
      }
      const tookMs = performance.now() - startMs;
      console.error(`copy ${migrations}: ${giveWay ? 'gives way' : 'full speed'}, ${Math.round(tookMs)} ms`);
      await peer.call('replica.drop', { migration, shard });
      await peers.peer(from.address).call('replica.drop', { migration, shard });
      return tookMs;
    };

    const figures: Figures[] = [];
    for (const [busy, node] of [
      ['source', from],
      ['target', to],
    ] as const) {
      const key = await keyOn(node.processId);
      const random = new SeededRandom(`requests at the ${busy}`);
      const waits: Record<Kind, number[]> = { 'no copy': [], 'gives way': [], 'full speed': [] };
      const copies: Record<Kind, number[]> = { 'no copy': [], 'gives way': [], 'full speed': [] };
      const failed: Record<Kind, number> = { 'no copy': 0, 'gives way': 0, 'full speed': 0 };
      let kind: Kind | undefined;
      let going = true;
      const underWay = new Set<Promise<void>>();
      const load = (async () => {
        let dueMs = performance.now();
        while (going) {
          dueMs += (-Math.log(1 - random.next()) * options.spinMs) / options.busy;
          const waitMs = dueMs - performance.now();
          if (waitMs > 0) await pause(waitMs);
          const at = kind;
          const one = post(key, 'spin', options.spinMs)
            .then(({ status, tookMs }) => {
              if (at === undefined) return;
              if (status === 200) waits[at].push(tookMs - options.spinMs);
              else failed[at]++;
            })
            .catch(() => {
              if (at !== undefined) failed[at]++;
            })
            .finally(() => underWay.delete(one));
          underWay.add(one);
        }
      })();
      try {
        for (const giveWay of [true, false]) await copy(giveWay);
        for (let round = 0; round < options.copies; round++)
          for (const now of KINDS) {
            await pause(SETTLE_MS);
            kind = now;
            if (now === 'no copy') await pause(IDLE_MS);
            else copies[now].push(await copy(now === 'gives way'));
            kind = undefined;
          }
      } finally {
        going = false;
        await load;
        await Promise.all(underWay);
      }
      for (const one of KINDS) {
        const at = (share: number) => quantile(waits[one], share);
        figures.push({
          busy,
          kind: one,
          requests: waits[one].length,
          failed: failed[one],
          waitMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: Math.max(...waits[one]) },
          copyMsP50: copies[one].length > 0 ? quantile(copies[one], 0.5) : undefined,
        });
      }
    }
    return figures;

    /** A key whose shard opened on that node. */
    async function keyOn(processId: string): Promise<string> {
      for (let i = 0; i < KEYS_MAX; i++) {
        await post(`spin-${i}`, 'spin', 0);
        if ((await endsOf(`store/spin-${i}`)).from.processId === processId) return `spin-${i}`;
      }
      throw new Error(`none of ${KEYS_MAX} shards opened on ${processId}`);
    }
  } finally {
    await pool.close();
    await close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      copies: { type: 'string', default: '12' },
      busy: { type: 'string', default: '0.6' },
      'spin-ms': { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
    },
  });
  const machine = machineFacts();
  const figures = await measure({
    copies: Number(values.copies),
    busy: Number(values.busy),
    spinMs: Number(values['spin-ms']),
  });
  if (values.json) console.log(JSON.stringify({ machine, figures }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log('| busy | copy | requests | failed | wait ms p50 | p90 | p99 | max | copy takes p50 |');
    console.log('|---|---|---|---|---|---|---|---|---|');
    for (const { busy, kind, requests, failed, waitMs, copyMsP50 } of figures) {
      const ms = [waitMs.p50, waitMs.p90, waitMs.p99, waitMs.max].map((value) => value.toFixed(1));
      const took = copyMsP50 === undefined ? '' : `${(copyMsP50 / 1_000).toFixed(2)} s`;
      console.log(`| ${busy} | ${kind} | ${requests} | ${failed} | ${ms.join(' | ')} | ${took} |`);
    }
  }
}
