/**
 * Test plan: a store process and node processes, plain HTTP, an idempotency key a command. Whatever is killed, every
 * command that was ever sent is applied once and only once; a drain shows no client anything; a command that blocks
 * kills two nodes and no third.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ChildOrder } from './node-child.ts';

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
let directory: string;
let children: ChildProcess[] = [];

interface Child {
  process: ChildProcess;
  address: string;
  http: string;
  exited: Promise<{ code: number | null; signal: string | null }>;
}

function start(order: ChildOrder): Promise<Child> {
  const child = fork(here('./node-child.ts'), [JSON.stringify(order)], { stdio: 'inherit' });
  children.push(child);
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    exited.then(({ code }) => reject(new Error(`a ${order.role} ended with ${code} before it was ready`)));
    child.once('message', (ready: { address: string; httpAddress?: string }) => {
      resolve({ process: child, address: ready.address, http: `http://${ready.httpAddress}`, exited });
    });
  });
}

const startStore = (address = '127.0.0.1:0') => start({ role: 'store', address, directory });
const startNode = (name: string, store: Child) =>
  start({ role: 'node', name, control: store.address, appFile: here('./node-app.ts') });

/** One command with its key, sent to whichever node answers until it is acknowledged. Returns other answers seen. */
async function send(nodes: () => Child[], key: number, handler: string, id: string): Promise<number[]> {
  const others: number[] = [];
  for (let i = key; ; i++) {
    const alive = nodes();
    try {
      const reply = await fetch(`${alive[i % alive.length]!.http}/counter/${key}/${handler}`, {
        method: 'POST',
        headers: { 'idempotency-key': id },
      });
      await reply.arrayBuffer();
      if (reply.ok) return others;
      others.push(reply.status);
    } catch {
      others.push(0);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const value = async (node: Child, key: number) =>
  (await (await fetch(`${node.http}/counter/${key}/get`)).json()) as number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'skein-node-'));
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

it('loses nothing and repeats nothing when nodes and the store are killed under load', async () => {
  const KEYS = 20;
  const ROUNDS = 60;
  let store = await startStore();
  const [a, b] = await Promise.all([startNode('a', store), startNode('b', store)]);
  let nodes = [a, b];
  let sent = 0;
  const waiting: { at: number; resume: () => void }[] = [];
  const sentAtLeast = (count: number) =>
    new Promise<void>((resume) => {
      waiting.push({ at: count, resume });
    });
  const load = Array.from({ length: KEYS }, async (_, key) => {
    for (let round = 0; round < ROUNDS; round++) {
      await send(() => nodes, key, 'add', `${key}-${round}`);
      sent++;
      for (const { at, resume } of waiting) if (sent >= at) resume();
    }
  });
  await sentAtLeast(KEYS * 15);
  a.process.kill('SIGKILL');
  nodes = [b];
  await sentAtLeast(KEYS * 30);
  store.process.kill('SIGKILL');
  await store.exited;
  store = await startStore(store.address);
  await sentAtLeast(KEYS * 45);
  nodes = [b, await startNode('c', store)];
  await Promise.all(load);
  const values = await Promise.all(Array.from({ length: KEYS }, (_, key) => value(nodes[1]!, key)));
  expect(values).toEqual(Array.from({ length: KEYS }, () => ROUNDS));
});

it('drains without any client seeing it', async () => {
  const KEYS = 20;
  const store = await startStore();
  const [a, b] = await Promise.all([startNode('a', store), startNode('b', store)]);
  let nodes = [a, b];
  let going = true;
  const counts = new Array<number>(KEYS).fill(0);
  const load = Array.from({ length: KEYS }, async (_, key) => {
    const others: number[] = [];
    while (going) {
      others.push(...(await send(() => nodes, key, 'add', `${key}-${counts[key]}`)));
      counts[key]!++;
    }
    return others;
  });
  while (counts.some((count) => count < 5)) await new Promise((resolve) => setTimeout(resolve, 10));
  // A load balancer stops sending to a node that is not ready; its connections in use are answered.
  a.process.send('drain');
  while ((await fetch(`${a.http}/readyz`)).status === 200)
    await new Promise((resolve) => setTimeout(resolve, 5));
  nodes = [b];
  expect(await a.exited).toEqual({ code: 0, signal: null });
  going = false;
  expect((await Promise.all(load)).flat()).toEqual([]);
  expect(await Promise.all(counts.map((_, key) => value(b, key)))).toEqual(counts);
});

it('kills at most two nodes by a command that never yields, then answers it as poisoned', async () => {
  const store = await startStore();
  const [a, b] = await Promise.all([startNode('a', store), startNode('b', store)]);
  await send(() => [a], 1, 'add', 'first');
  const spin = (node: Child) =>
    fetch(`${node.http}/counter/1/spin`, { method: 'POST', headers: { 'idempotency-key': 'bad' } });
  await expect(spin(a)).rejects.toThrow();
  expect(await a.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await send(() => [b], 1, 'add', 'second');
  await expect(spin(b)).rejects.toThrow();
  expect(await b.exited).toEqual({ code: null, signal: 'SIGKILL' });
  const c = await startNode('c', store);
  const poisoned = await spin(c);
  expect(poisoned.status).toBe(500);
  expect(await poisoned.json()).toMatchObject({ code: 'command-poisoned' });
  const other = await fetch(`${c.http}/counter/1/add`, { method: 'POST' });
  expect(other.status).toBe(503);
  expect(await other.json()).toMatchObject({ code: 'shard-quarantined', handler: 'spin' });
  expect(await value(c, 1)).toBe(2);
});

it('records a command that ends the process itself', async () => {
  const store = await startStore();
  const [a, b] = [await startNode('a', store), await startNode('b', store)];
  for (const node of [a, b]) {
    const quit = fetch(`${node.http}/counter/1/quit`, {
      method: 'POST',
      headers: { 'idempotency-key': 'bad' },
    });
    await expect(quit).rejects.toThrow();
    expect(await node.exited).toMatchObject({ code: 3 });
  }
  const c = await startNode('c', store);
  const refused = await fetch(`${c.http}/counter/1/quit`, {
    method: 'POST',
    headers: { 'idempotency-key': 'bad' },
  });
  expect(await refused.json()).toMatchObject({ code: 'command-poisoned' });
});
