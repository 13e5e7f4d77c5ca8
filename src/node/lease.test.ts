/** Test plan: a real control store in memory behind a way that loses answers or everything, and the lease's own view. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sleep } from '../io/io.ts';
import { realIo } from '../io/real.ts';
import { CONTROL_KEYS, decodeRecord, type NodeRecord } from '../model/records.ts';
import { type ControlStore, StoreError } from '../store/store.ts';
import { NodeLease } from './lease.ts';
import { type MemoryStores, memoryStores } from './test-cluster.ts';

const io = realIo({ logLevel: 'silent' });
const KEY = CONTROL_KEYS.node('n.1');
let stores: MemoryStores;
let lease: NodeLease;
/** What happens to the next calls of a name: their answer is lost, or they never arrive. */
let trouble: Map<string, 'answer lost' | 'never arrives'>;
const caughtUp: number[] = [];
let keptAlive: number;

function troubled(control: ControlStore): ControlStore {
  return new Proxy(control, {
    get(target, name) {
      const value = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        const kind = trouble.get(String(name));
        if (kind === 'never arrives') throw new StoreError('unavailable', 'lost');
        const result = await value.apply(target, args);
        if (name === 'keepAlive') keptAlive++;
        if (kind === 'answer lost') {
          trouble.delete(String(name));
          throw new StoreError('unavailable', 'lost');
        }
        return result;
      };
    },
  });
}

const until = async (holds: () => boolean | Promise<boolean>) => {
  while (!(await holds())) await sleep(io.clock, 5);
};

beforeEach(() => {
  stores = memoryStores();
  trouble = new Map();
  caughtUp.length = 0;
  keptAlive = 0;
  lease = new NodeLease({
    io,
    control: troubled(stores.control),
    ttlMs: 1_000,
    record: {
      processId: 'n.1',
      name: 'n',
      region: 'here',
      zone: 'a',
      address: '127.0.0.1:1',
      httpAddress: '',
      capacity: { cpu: 1, memoryBytes: 1, networkBytesPerSecond: 1 },
      usdPerHour: 0,
      services: {},
      startedAtMs: 0,
    },
    catchUp: async (revision) => {
      caughtUp.push(revision);
      expect(lease.valid()).toBe(false);
    },
  });
});

afterEach(async () => {
  trouble.clear();
  await lease.stop();
  stores.close();
});

it('is valid once its key names it, and stays so by keep-alives', async () => {
  expect(lease.valid()).toBe(false);
  await lease.start();
  expect(lease.valid()).toBe(true);
  expect((await stores.control.get(KEY))?.lease).toBe('n.1.1');
  await until(() => keptAlive >= 2);
  expect(lease.valid()).toBe(true);
  expect((await stores.control.get(KEY))?.lease).toBe('n.1.1');
  expect(caughtUp).toEqual([]);
});

it('lives by the lease that the key names when the answer to its registration was lost', async () => {
  trouble.set('transact', 'answer lost');
  await lease.start();
  expect(lease.valid()).toBe(true);
  expect((await stores.control.get(KEY))?.lease).toBe('n.1.1');
});

it('is never valid once the store has ended it', async () => {
  await lease.start();
  trouble.set('keepAlive', 'never arrives');
  trouble.set('grantLease', 'never arrives');
  await until(async () => (await stores.control.get(KEY)) === undefined);
  expect(lease.valid()).toBe(false);
});

it('registers once more under a new lease, and answers nothing before everything was read again', async () => {
  await lease.start();
  await stores.control.revokeLease('n.1.1');
  await until(() => lease.generation === 2 && lease.valid());
  const entry = await stores.control.get(KEY);
  expect(entry?.lease).toBe('n.1.2');
  expect(caughtUp).toEqual([entry?.version]);
});

it('says that it drains, also when it must register again', async () => {
  await lease.start();
  trouble.set('transact', 'answer lost');
  await lease.setState('draining');
  const state = async () => decodeRecord<NodeRecord>((await stores.control.get(KEY))!.value).state;
  expect(await state()).toBe('draining');
  await stores.control.revokeLease('n.1.1');
  await until(async () => (await stores.control.get(KEY))?.lease === 'n.1.2');
  expect(await state()).toBe('draining');
});

it('gives itself back at the end', async () => {
  await lease.start();
  await lease.stop();
  expect(await stores.control.get(KEY)).toBeUndefined();
  expect(lease.valid()).toBe(false);
});
