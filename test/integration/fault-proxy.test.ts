/**
 * Test plan: the proxy that the fault tests break networks with, itself. Held bytes arrive late and whole, in the
 * direction that was held and not in the other; only the chosen process is hit; a cut is a reset.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { realIo } from '../../src/io/real.ts';
import { onLoopback } from '../../src/store/loopback-conformance.ts';
import { FaultProxy } from './support/fault-proxy.ts';

const io = realIo({ logLevel: 'silent' });
/** A client process: each line on its standard input is sent; each answer is printed. */
const CLIENT = `
  const socket = require('node:net').connect(Number(process.argv[1]), '127.0.0.1');
  process.stdin.pipe(socket, { end: false });
  socket.on('error', (error) => console.log('error ' + error.code));
  socket.pipe(process.stdout);
`;

let server: Server;
let proxy: FaultProxy;
let heard: string[];
const clients: ChildProcess[] = [];

beforeEach(async () => {
  heard = [];
  server = createServer((socket) => {
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      heard.push(line);
      socket.write(`echo ${line}\n`);
    });
    // A cut connection; readline repeats it.
    lines.on('error', () => {});
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  proxy = await onLoopback(io.random, (address) =>
    FaultProxy.listen({
      port: Number(address.split(':')[1]),
      targetPort: () => (server.address() as { port: number }).port,
    }),
  );
});

afterEach(async () => {
  for (const client of clients.splice(0)) {
    if (client.exitCode !== null) continue;
    const gone = once(client, 'exit');
    client.kill('SIGKILL');
    await gone;
  }
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

function client() {
  const child = spawn(process.execPath, ['-e', CLIENT, String(proxy.port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  clients.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid!,
    say: (text: string) => child.stdin.write(`${text}\n`),
    answer: async () => (await lines.next()).value as string,
  };
}

it('holds what one process asks, and delivers it when healed', async () => {
  const [one, other] = [client(), client()];
  one.say('a');
  expect(await one.answer()).toBe('echo a');
  expect(proxy.set({ pids: new Set([one.pid]), holdRequests: true })).toBe(1);
  one.say('b');
  other.say('c');
  expect(await other.answer()).toBe('echo c');
  expect(heard).toEqual(['a', 'c']);
  proxy.set(undefined);
  expect(await one.answer()).toBe('echo b');
  expect(heard).toEqual(['a', 'c', 'b']);
});

it('holds answers alone: the request happens', async () => {
  const [one, other] = [client(), client()];
  one.say('a');
  await one.answer();
  other.say('b');
  await other.answer();
  proxy.set({ pids: new Set([one.pid]), holdAnswers: true });
  one.say('c');
  other.say('d');
  expect(await other.answer()).toBe('echo d');
  while (!heard.includes('c')) await new Promise((resolve) => setImmediate(resolve));
  proxy.set(undefined);
  expect(await one.answer()).toBe('echo c');
});

it('cuts connections and refuses new ones', async () => {
  const one = client();
  one.say('a');
  await one.answer();
  proxy.set({ cut: true });
  expect(await one.answer()).toBe('error ECONNRESET');
  const late = client();
  expect(await late.answer()).toMatch(/^error ECONN/);
  proxy.set(undefined);
  const again = client();
  again.say('b');
  expect(await again.answer()).toBe('echo b');
});
