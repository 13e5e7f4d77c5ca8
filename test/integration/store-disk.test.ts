/**
 * Test plan: a real store process on a real file system of a few megabytes (a tmpfs in a mount namespace of its own)
 * whose disk fills up while it takes appends. What is refused says so and is not there; what was acknowledged is; with
 * room made, the same process goes on, and after SIGKILL all of it is found again. Then torn writes: after SIGKILL,
 * half a frame is left at the end of the log, as a power cut leaves it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/io/random.ts';
import { realIo } from '../../src/io/real.ts';
import { RemoteCellStore } from '../../src/store/client.ts';
import { onLoopback } from '../../src/store/loopback-conformance.ts';
import { StoreError } from '../../src/store/store.ts';

const TOKEN = 'disk-test';
const DISK_MB = 8;
const ROOM_MB = 64;
const DELTA_BYTES = 10_000;
const SHARD = 'disk/full';
const seed = process.env.SKEIN_SEED ?? String(Date.now());
const io = realIo({ logLevel: 'silent', seed });
const source = (path: string) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));

let directory: string;
let shell: ChildProcess | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-disk-'));
});
afterEach(async () => {
  if (shell && shell.exitCode === null && shell.signalCode === null) {
    const gone = once(shell, 'exit');
    // The shell leads a process group: the store goes with it.
    process.kill(-shell.pid!, 'SIGKILL');
    await gone;
  }
  rmSync(directory, { recursive: true, force: true });
});

interface RunningStore {
  address: string;
  pid: number;
}

/** Runs a store again and again in one shell, so that a mount the shell made outlives the store. */
class StoreShell {
  readonly #child: ChildProcess;
  readonly #running: RunningStore[] = [];
  #errors = '';
  #wake = () => {};
  #taken = 0;

  /** @param prologue shell commands before the first start. */
  constructor(command: string[], prologue: string, data: string, address: string) {
    const program = `
      import { realIo } from ${JSON.stringify(source('io/real.ts'))};
      import { runStoreProcess } from ${JSON.stringify(source('store/process.ts'))};
      const store = await runStoreProcess({
        io: realIo({ logLevel: 'silent' }), address: ${JSON.stringify(address)}, token: ${JSON.stringify(TOKEN)},
        dataDirectory: ${JSON.stringify(data)}, cellId: 'cell-disk', region: 'us-east-1', control: false,
      });
      console.log('serving ' + store.address + ' ' + process.pid);
    `;
    const script = `${prologue}; while "$1" --input-type=module -e "$2" || [ $? -gt 128 ]; do :; done`;
    const [file, ...args] = [...command, 'sh', '-c', script, 'sh', process.execPath, program];
    this.#child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    shell = this.#child;
    this.#child.stderr!.on('data', (chunk) => {
      this.#errors += String(chunk);
    });
    this.#child.stdout!.on('data', (chunk) => {
      for (const [, found, pid] of String(chunk).matchAll(/serving (\S+) (\d+)/g))
        this.#running.push({ address: found!, pid: Number(pid) });
      this.#wake();
    });
    this.#child.once('exit', () => this.#wake());
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The next store that serves. */
  async next(): Promise<RunningStore> {
    while (this.#running.length <= this.#taken) {
      if (this.#child.exitCode !== null) throw new Error(`the store ended: ${this.#errors}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#running[this.#taken++]!;
  }
}

async function started(
  command: string[],
  prologue: string,
  data: string,
): Promise<[stores: StoreShell, first: RunningStore]> {
  return onLoopback(new SeededRandom(`${seed}/${prologue}`), async (address) => {
    const stores = new StoreShell(command, prologue, data, address);
    return [stores, await stores.next()];
  });
}

/** Root makes a mount namespace; anybody else makes one in a user namespace of their own. */
const NAMESPACE = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];

const deltaOf = (seq: number) => Buffer.alloc(DELTA_BYTES, seq % 251);
const appendOf = (seq: number) => ({ shard: SHARD, epoch: 1, seq, id: `a.${seq}`, delta: deltaOf(seq) });

async function readBack(cell: RemoteCellStore): Promise<number> {
  let seq = 0;
  for (;;) {
    const { entries, end } = await cell.tail(SHARD, seq, 1_000_000);
    for (const entry of entries) {
      expect(entry.seq).toBe(++seq);
      expect(Buffer.compare(entry.delta, deltaOf(seq))).toBe(0);
    }
    if (seq === end) return end;
  }
}

describe('a store whose disk is full', () => {
  it('refuses what it cannot keep, keeps what it acknowledged, and goes on when there is room', async () => {
    const disk = join(directory, 'disk');
    mkdirSync(disk);
    const [stores, store] = await started(
      ['unshare', ...NAMESPACE],
      `mount -t tmpfs -o size=${DISK_MB}m tmpfs ${disk}`,
      disk,
    );
    const cell = new RemoteCellStore(io, store.address, { token: TOKEN, identity: 'writer' });
    await cell.raiseFence(SHARD, 1);

    let acknowledged = 0;
    let refusal: unknown;
    for (let seq = 1; refusal === undefined && seq * DELTA_BYTES < 2 * DISK_MB * 2 ** 20; seq++) {
      try {
        const [result] = await cell.append([appendOf(seq)]);
        expect(result).toEqual({ ok: true });
        acknowledged = seq;
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toBeInstanceOf(StoreError);
    expect(String(refusal)).toMatch(/full|unavailable|failed/);
    expect(acknowledged).toBeGreaterThan(50);
    // It still reads, and says where the log ends.
    expect(await readBack(cell)).toBeGreaterThanOrEqual(acknowledged);

    const enter = NAMESPACE.includes('--user')
      ? ['--user', '--mount', '--preserve-credentials']
      : ['--mount'];
    execFileSync('nsenter', [
      '--target',
      String(stores.pid),
      ...enter,
      'mount',
      '-o',
      `remount,size=${ROOM_MB}m`,
      disk,
    ]);
    // The very append that was refused, with the same id: done now, or known to be done already.
    const retried = acknowledged + 1;
    expect(await cell.append([appendOf(retried)])).toEqual([{ ok: true }]);
    const last = retried + 100;
    for (let seq = retried + 1; seq <= last; seq++)
      expect(await cell.append([appendOf(seq)])).toEqual([{ ok: true }]);
    cell.close();

    process.kill(store.pid, 'SIGKILL');
    const again = await stores.next();
    expect(again.pid).not.toBe(store.pid);
    const auditor = new RemoteCellStore(io, again.address, { token: TOKEN, identity: 'auditor' });
    expect(await readBack(auditor)).toBe(last);
    auditor.close();
  });
});

describe('a log with a torn end', () => {
  it('opens with all that was acknowledged', async () => {
    const [stores, first] = await started([], ':', directory);
    let cell = new RemoteCellStore(io, first.address, { token: TOKEN, identity: 'writer' });
    await cell.raiseFence(SHARD, 1);
    let { pid } = first;
    let seq = 0;
    const random = new SeededRandom(`${seed}/lengths`);
    for (let round = 0; round < 5; round++) {
      for (let more = 0; more < 20; more++)
        expect(await cell.append([appendOf(++seq)])).toEqual([{ ok: true }]);
      cell.close();
      // What a power cut leaves of a frame that was being written when it came: never synced, never acknowledged.
      const torn = Buffer.alloc(1 + Math.floor(random.next() * 5000), 1 + Math.floor(random.next() * 255));
      process.kill(pid, 'SIGSTOP');
      appendFileSync(join(directory, 'cell.sqlite-wal'), torn);
      process.kill(pid, 'SIGKILL');
      const again = await stores.next();
      pid = again.pid;
      cell = new RemoteCellStore(io, again.address, { token: TOKEN, identity: `writer-${round}` });
      expect(await readBack(cell)).toBe(seq);
    }
    cell.close();
  });
});
