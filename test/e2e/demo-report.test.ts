/**
 * Test plan: a short comparison as a newcomer starts it, then an interrupted demo. Real processes, real kill -9; the
 * assertions are about promises kept and processes left, never about speed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DemoReport } from '../../examples/demo/report.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const LIMIT_MS = 240_000;
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-demo-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function start(...flags: string[]) {
  const child = spawn(
    process.execPath,
    [
      'scripts/run.mjs',
      'start',
      '--data',
      join(directory, 'data'),
      '--port',
      '0',
      '--api-port',
      '0',
      ...flags,
    ],
    // A process group of its own, as a terminal gives: Ctrl-C goes to all of it. The mark names our processes.
    {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, SKEIN_TEST_MARK: directory },
    },
  );
  let output = '';
  const seen: (() => void)[] = [];
  const onData = (chunk: Buffer) => {
    output += chunk.toString();
    for (const look of seen) look();
  };
  child.stdout.on('data', onData);
  child.stderr.on('data', onData);
  const status = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    pid: child.pid!,
    status,
    output: () => output,
    /** Resolves when the output matches; rejects when the process ends before. */
    says: (pattern: RegExp) =>
      Promise.race([
        new Promise<void>((resolve) => {
          const look = () => pattern.test(output) && resolve();
          seen.push(look);
          look();
        }),
        status.then(() => {
          if (!pattern.test(output)) throw new Error(`ended without ${pattern}:\n${output}`);
        }),
      ]),
  };
}

/** Processes that carry our mark in their environment and are no zombies. */
function left(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        // A zombie's environment is empty.
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`SKEIN_TEST_MARK=${directory}\0`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

it('compares, kills, audits and reports', { timeout: LIMIT_MS }, async () => {
  const file = join(directory, 'report.json');
  const run = start('--for', '13s', '--day', '4s', '--rate', '60', '--nodes', '3', '--report', file);
  expect(await run.status, run.output()).toBe(0);
  const report = JSON.parse(readFileSync(file, 'utf8')) as DemoReport;
  expect(report.audit).toMatchObject({ lost: 0, duplicated: 0, failedRequests: 0 });
  expect(report.audit.acknowledged).toBeGreaterThan(100);
  expect(report.static.requests).toBe(report.predictive.requests);
  expect(report.static.moves).toBe(0);
  expect(Object.keys(report.static)).toEqual(Object.keys(report.predictive));
  expect(left()).toEqual([]);
});

it('leaves no process behind after Ctrl-C', { timeout: LIMIT_MS }, async () => {
  const run = start('--day', '4s', '--rate', '40', '--nodes', '3');
  await run.says(/requests\/s/);
  expect(left().length).toBeGreaterThan(10);
  process.kill(-run.pid, 'SIGINT');
  expect(await run.status, run.output()).toBe(0);
  expect(run.output()).toContain('no process is left');
  expect(left()).toEqual([]);
});

it('stops at once at a second Ctrl-C, and leaves no process either', { timeout: LIMIT_MS }, async () => {
  const run = start('--day', '4s', '--rate', '40', '--nodes', '3');
  await run.says(/requests\/s/);
  process.kill(-run.pid, 'SIGINT');
  await run.says(/Ctrl-C again kills/);
  process.kill(-run.pid, 'SIGINT');
  expect(await run.status, run.output()).toBe(130);
  // Killed, not asked: nobody waited to say so.
  expect(run.output()).not.toContain('no process is left');
  // Each notices by itself that its parent is gone.
  await expect.poll(() => left(), { timeout: LIMIT_MS }).toEqual([]);
});
