/** Test plan: real child processes with scripted behaviour; every wait is for an event, none for a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realIo } from '../io/real.ts';
import { Backoff, RESTART_DELAY_MS_MAX } from './backoff.ts';
import { LocalSupervisor, parseReadyLine } from './local-supervisor.ts';
import { PORT_FIRST, PORT_LAST, PortPicker } from './ports.ts';
import { isRunning, parseStat } from './process-usage.ts';
import type { ProcessSpec, Role, SupervisorEvent } from './supervisor.ts';

const entry = fileURLToPath(new URL('./test-children/fake-role.mjs', import.meta.url));
const { clock, random, log } = realIo({ logLevel: 'silent' });
let directory = '';
let supervisor: LocalSupervisor;
const exits: string[] = [];

function spec(name: string, behaviour: string, more: Partial<ProcessSpec> = {}): ProcessSpec {
  return { role: 'node', name, arguments: (id) => [behaviour, id], ...more };
}

function nextEvent<Type extends SupervisorEvent['type']>(type: Type) {
  return new Promise<Extract<SupervisorEvent, { type: Type }>>((resolve) => {
    const off = supervisor.onEvent((event) => {
      if (event.type !== type) return;
      off();
      resolve(event as Extract<SupervisorEvent, { type: Type }>);
    });
  });
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-supervisor-'));
  exits.length = 0;
  supervisor = new LocalSupervisor({
    clock,
    random,
    log,
    entry,
    logDirectory: directory,
    blockedMsMax: 1000,
    onExit: async ({ processId }) => {
      exits.push(processId);
    },
  });
});

afterEach(async () => {
  await supervisor.killAll();
  rmSync(directory, { recursive: true, force: true });
});

describe('a supervisor', () => {
  it('starts a process, waits until it serves, and knows its address', async () => {
    const ready = await supervisor.start(spec('n1', 'serve'));
    expect(ready.address).toBe('127.0.0.1:1');
    const [n1] = supervisor.processes();
    expect(n1).toMatchObject({ name: 'n1', state: 'serving', restarts: 0 });
    expect(n1!.processId).toMatch(/^n1\.[0-9a-z]{10}$/);
  });

  it('says why a process did not start, with the end of its output', async () => {
    await expect(supervisor.start(spec('n1', 'exit-before-ready'))).rejects.toThrow(
      /node n1 exited with status 3.*the port is taken/s,
    );
  });

  it('gives up on a process that never serves', async () => {
    await expect(supervisor.start(spec('n1', 'never-ready', { readyTimeoutMs: 1 }))).rejects.toThrow(
      /did not say that it serves within 1 ms/,
    );
  });

  it('restarts what was killed, under a new process id, and hands the old one on (OWNERSHIP rule 1)', async () => {
    await supervisor.start(spec('n1', 'serve'));
    const before = supervisor.processes()[0]!;
    const serving = nextEvent('serving');
    supervisor.kill('n1', 'SIGKILL');
    const after = await serving;
    expect(after.processId).not.toBe(before.processId);
    expect(after.restarts).toBe(1);
    expect(exits).toEqual([before.processId]);
  });

  it('leaves down what shall stay down, until asked', async () => {
    await supervisor.start(spec('n1', 'serve'));
    const exited = nextEvent('exited');
    supervisor.kill('n1', 'SIGKILL', { restart: false });
    await exited;
    expect(supervisor.processes()[0]).toMatchObject({ state: 'stopped', pid: undefined });
    await supervisor.restart('n1');
    expect(supervisor.processes()[0]).toMatchObject({ state: 'serving', restarts: 1 });
  });

  it('kills a process whose event loop stands still, and starts it again', async () => {
    const blocked = nextEvent('blocked');
    const exited = nextEvent('exited');
    await supervisor.start(spec('n1', 'block'));
    expect((await blocked).blockedMs).toBeGreaterThanOrEqual(1000);
    expect((await exited).reason).toContain('SIGKILL');
  });

  it('leaves a store alone that stands still, as it does while its disk does not answer', async () => {
    // It blocks first, so its turn would come first.
    await supervisor.start(spec('s1', 'block', { role: 'store' }));
    const blocked = nextEvent('blocked');
    await supervisor.start(spec('n1', 'block'));
    expect((await blocked).name).toBe('n1');
    expect(supervisor.processes()[0]).toMatchObject({ name: 's1', state: 'serving', restarts: 0 });
  });

  it('stops role after role, and kills what does not end', async () => {
    for (const role of ['store', 'controller', 'node', 'gateway'] satisfies Role[]) {
      await supervisor.start(spec(`a-${role}`, 'serve', { role }));
    }
    await supervisor.start(spec('stubborn', 'ignore-sigterm', { role: 'node', stopTimeoutMs: 50 }));
    const pids = supervisor.processes().map(({ pid }) => pid!);
    await supervisor.stop();
    const endedAt = (name: string) =>
      BigInt(/ends (\d+)/.exec(readFileSync(join(directory, `${name}.log`), 'utf8'))![1]!);
    expect(endedAt('a-gateway') < endedAt('a-node')).toBe(true);
    expect(endedAt('a-node') < endedAt('a-controller')).toBe(true);
    expect(endedAt('a-controller') < endedAt('a-store')).toBe(true);
    expect(pids.filter(isRunning)).toEqual([]);
    expect(exits).toEqual([]);
  });

  it('takes its children with it when it is killed', async () => {
    const parent = spawn(
      process.execPath,
      [fileURLToPath(new URL('./test-children/parent.mjs', import.meta.url)), directory],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pids = JSON.parse(line.toString()) as number[];
    expect(pids).toHaveLength(2);
    expect(pids.filter(isRunning)).toHaveLength(2);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    await expect.poll(() => pids.filter(isRunning), { timeout: 20_000 }).toEqual([]);
  });
});

describe('restarts', () => {
  it('are at once the first time, then later and later, up to a limit', () => {
    const backoff = new Backoff();
    const delays = Array.from({ length: 10 }, () => backoff.nextDelayMs(0));
    expect(delays.slice(0, 4)).toEqual([0, 100, 200, 400]);
    expect(delays.at(-1)).toBe(RESTART_DELAY_MS_MAX);
  });

  it('are at once again after a healthy time', () => {
    const backoff = new Backoff();
    backoff.nextDelayMs(0);
    expect(backoff.nextDelayMs(0)).toBeGreaterThan(0);
    expect(backoff.nextDelayMs(60_000)).toBe(0);
  });
});

describe('ports', () => {
  it('are free, distinct and below the ephemeral range', async () => {
    const picker = new PortPicker({ start: PORT_LAST - PORT_FIRST });
    const ports = [await picker.pick(), await picker.pick(), await picker.pick()];
    expect(new Set(ports).size).toBe(3);
    for (const port of ports) {
      expect(port).toBeGreaterThanOrEqual(PORT_FIRST);
      expect(port).toBeLessThanOrEqual(PORT_LAST);
    }
  });
});

describe('reading processes', () => {
  it('counts fields from behind the name, whatever the name holds', () => {
    const rest = `S ${Array.from({ length: 10 }, () => 0).join(' ')} 250 50 0 0 20 0 11 0 9 99999 7 0`;
    expect(parseStat(`12 (a) b (c)) ${rest}`)).toEqual({ cpuSeconds: 3, rssBytes: 7 * 4096 });
  });

  it('takes only a ready line for one', () => {
    expect(parseReadyLine('{"ready":true,"role":"node"}')).toEqual({ ready: true, role: 'node' });
    expect(parseReadyLine('{"level":30}')).toBeUndefined();
    expect(parseReadyLine('{broken')).toBeUndefined();
    expect(parseReadyLine('hello')).toBeUndefined();
  });
});
