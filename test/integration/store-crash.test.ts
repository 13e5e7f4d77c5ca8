/**
 * Test plan: a real store process takes appends, fences, snapshots, trims and control writes over TCP and is killed
 * with SIGKILL after a random number of acknowledgements, again and again, on the same files. After each restart all
 * that was acknowledged must be there: each delta with its bytes, contiguous; fences and revisions never back; what
 * was never sent must not be. The seed of each run is printed; SKEIN_SEED=... runs it again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/io/random.ts';
import { realIo } from '../../src/io/real.ts';
import { RemoteCellStore, RemoteControlStore } from '../../src/store/client.ts';
import { onLoopback } from '../../src/store/loopback-conformance.ts';
import type { Append } from '../../src/store/store.ts';

const SHARDS = 40;
const ROUNDS = 8;
const ACKNOWLEDGED_PER_ROUND_MAX = 3_000;
const TOKEN = 'crash-test';
const source = (path: string) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));

const seed = process.env.SKEIN_SEED ?? String(Date.now());
const io = realIo({ logLevel: 'silent', seed });
const random = new SeededRandom(seed);

let directory: string;
let child: ChildProcess | undefined;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-crash-'));
});
afterAll(() => {
  child?.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** A store process of its own; resolves when it serves. */
async function startStore(address: string): Promise<string> {
  const program = `
    import { realIo } from ${JSON.stringify(source('io/real.ts'))};
    import { runStoreProcess } from ${JSON.stringify(source('store/process.ts'))};
    const store = await runStoreProcess({
      io: realIo({ logLevel: 'silent' }), address: ${JSON.stringify(address)}, token: ${JSON.stringify(TOKEN)},
      dataDirectory: ${JSON.stringify(directory)}, cellId: 'cell-crash', region: 'us-east-1', control: true,
    });
    console.log('serving ' + store.address);
  `;
  const started = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  let errors = '';
  started.stderr!.on('data', (chunk) => {
    errors += String(chunk);
  });
  return new Promise((resolve, reject) => {
    started.stdout!.on('data', (chunk) => {
      const line = /serving (\S+)/.exec(String(chunk));
      if (line) resolve(line[1]!);
    });
    started.once('exit', (code, signal) =>
      reject(new Error(`the store ended (${code ?? signal}): ${errors}`)),
    );
  });
}

async function killStore(): Promise<void> {
  const dying = child!;
  const gone = once(dying, 'exit');
  dying.kill('SIGKILL');
  await gone;
}

/** What the test was told, and what it merely asked for. */
interface Known {
  acknowledgedSeq: number;
  sentSeq: number;
  fence: number;
}

const deltaOf = (shard: string, seq: number) => Buffer.from(`${shard}#${seq}#`.repeat((seq % 7) + 1));

describe('a store killed with SIGKILL', () => {
  it(`keeps everything it acknowledged (SKEIN_SEED=${seed})`, { timeout: 120_000 }, async () => {
    const known = new Map<string, Known>();
    for (let i = 0; i < SHARDS; i++) known.set(`crash/${i}`, { acknowledgedSeq: 0, sentSeq: 0, fence: 0 });
    let controlAcknowledged = 0;
    let revisionAcknowledged = 0;
    let acknowledgedTotal = 0;
    let address = await onLoopback(io.random, startStore);

    for (let round = 1; round <= ROUNDS; round++) {
      const client = { token: TOKEN, identity: `writer-${round}` };
      const cell = new RemoteCellStore(io, address, client);
      const control = new RemoteControlStore(io, address, client);
      const killAfter = Math.floor(random.next() * ACKNOWLEDGED_PER_ROUND_MAX);
      let acknowledged = 0;
      let killed: Promise<void> | undefined;
      const count = (more: number) => {
        acknowledged += more;
        if (acknowledged >= killAfter) killed ??= killStore();
      };

      // Opening first, as an owner does: it says where the log ends after the unknown outcomes of the last round.
      for (const [shard, state] of known) {
        const opening = await insist(() => cell.open(shard, round));
        state.fence = round;
        state.sentSeq = opening.end;
      }
      const writer = async (own: [string, Known][], label: string) => {
        while (!killed) {
          const batch: Append[] = [];
          for (const [shard, state] of own) {
            const upTo = state.sentSeq + 1 + Math.floor(random.next() * 4);
            while (state.sentSeq < upTo) {
              const seq = ++state.sentSeq;
              batch.push({
                shard,
                epoch: round,
                seq,
                id: `${label}.${round}.${seq}`,
                delta: deltaOf(shard, seq),
              });
            }
          }
          const results = await cell.append(batch);
          expect(results.every((result) => result.ok)).toBe(true);
          for (const { shard, seq } of batch) known.get(shard)!.acknowledgedSeq = seq;
          acknowledgedTotal += batch.length;
          count(batch.length);
        }
      };
      const keeper = async () => {
        while (!killed) {
          const [shard, state] = [...known][Math.floor(random.next() * SHARDS)]!;
          const seq = state.acknowledgedSeq;
          if (seq > 0) {
            await cell.putSnapshot(shard, round, { seq, bytes: deltaOf(shard, seq) });
            await cell.trim(shard, round, Math.floor(seq / 2));
          }
          const put = { put: 'counter', value: String(controlAcknowledged + 1) };
          const result = await control.transact({ compare: [], operations: [put] });
          controlAcknowledged++;
          revisionAcknowledged = result.revision;
        }
      };
      const all = [...known];
      const outcomes = await Promise.allSettled([
        writer(all.slice(0, 20), 'a'),
        writer(all.slice(20, 30), 'b'),
        writer(all.slice(30), 'c'),
        keeper(),
      ]);
      // A writer may end in one way only: its last call is without an answer.
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'unavailable' });
      await killed;
      cell.close();
      control.close();

      address = await startStore(address);
      await verify(address, known, { round, controlAcknowledged, revisionAcknowledged });
    }
    expect(acknowledgedTotal).toBeGreaterThan(ROUNDS);
  });
});

async function verify(
  address: string,
  known: Map<string, Known>,
  at: { round: number; controlAcknowledged: number; revisionAcknowledged: number },
): Promise<void> {
  const cell = new RemoteCellStore(io, address, { token: TOKEN, identity: 'auditor' });
  const control = new RemoteControlStore(io, address, { token: TOKEN, identity: 'auditor' });
  for (const [shard, { acknowledgedSeq, sentSeq, fence }] of known) {
    const where = `${shard} after round ${at.round}`;
    const opening = await insist(() => cell.open(shard, 0));
    expect(opening.fence, where).toBe(fence);
    expect(opening.end, where).toBeGreaterThanOrEqual(acknowledgedSeq);
    expect(opening.end, where).toBeLessThanOrEqual(sentSeq);
    const from = opening.snapshot?.seq ?? 0;
    if (opening.snapshot) expect(Buffer.compare(opening.snapshot.bytes, deltaOf(shard, from)), where).toBe(0);
    expect(
      opening.entries.map((entry) => entry.seq),
      where,
    ).toEqual(Array.from({ length: opening.end - from }, (_, i) => from + 1 + i));
    // Also what lies before the snapshot and was not trimmed is as it was acknowledged.
    const { entries } = await cell.tail(shard, 0, 10_000_000);
    for (const entry of entries)
      expect(Buffer.compare(entry.delta, deltaOf(shard, entry.seq)), `${where}, delta ${entry.seq}`).toBe(0);
  }
  const { entries, revision } = await control.list('counter');
  expect(revision).toBeGreaterThanOrEqual(at.revisionAcknowledged);
  expect(Number(entries[0]?.value ?? 0)).toBeGreaterThanOrEqual(at.controlAcknowledged);
  cell.close();
  control.close();
}

/** The connection may break under a first call that comes while the old process is still being cleared away. */
async function insist<Result>(call: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if ((error as { code?: string }).code !== 'unavailable' || child?.exitCode !== null) throw error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
