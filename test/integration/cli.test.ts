/**
 * Test plan: `bin/skein.mjs` as a user runs it, against a real controller process over a real store process on
 * loopback; nodes are records only, since what nodes do is tested elsewhere.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControllerProcess, runControllerProcess } from '../../src/controller/process.ts';
import { realIo } from '../../src/io/real.ts';
import { RemoteControlStore } from '../../src/store/client.ts';
import { runStoreProcess, type StoreProcess } from '../../src/store/process.ts';
import { assign, FakeNodes } from './controller-kit.ts';

const BIN = fileURLToPath(new URL('../../bin/skein.mjs', import.meta.url));
const token = 'cli-test';
let directory: string;
let store: StoreProcess;
let control: RemoteControlStore;
let controller: ControllerProcess;
let apiUrl: string;

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Not spawnSync: the API it speaks to lives in this process. */
function skein(args: string[], environment: Record<string, string> = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      env: { ...process.env, SKEIN_API: apiUrl, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ran: Ran = { status: null, stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      ran.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      ran.stderr += chunk;
    });
    child.on('close', (status) => resolve({ ...ran, status }));
  });
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'skein-cli-'));
  const io = realIo({ logLevel: 'silent' });
  store = await runStoreProcess({
    io,
    address: '127.0.0.1:0',
    token,
    dataDirectory: directory,
    cellId: 'cell-us-east-1',
    region: 'us-east-1',
    control: true,
  });
  await store.registered;
  control = new RemoteControlStore(io, store.address, { token, identity: 'test' });
  const nodes = new FakeNodes(control, io);
  await nodes.join('us-n1', 'us-east-1', { address: '127.0.0.1:1' });
  await nodes.join('us-n2', 'us-east-1', { address: '127.0.0.1:1' });
  for (const shard of ['room/a', 'room/b', 'room/caf%C3%A9']) await assign(control, shard, 'us-n1.1');
  controller = await runControllerProcess({
    io,
    name: 'controller',
    region: 'us-east-1',
    processId: 'controller.1',
    token,
    controlAddress: store.address,
    listen: '127.0.0.1:0',
    apiAddress: '127.0.0.1:0',
    version: '0.0.0',
    policy: 'static',
    dataDirectory: directory,
  });
  apiUrl = `http://${controller.httpAddress}`;
  await new Promise<void>((resolve) => {
    if (controller.controller.election.leads) resolve();
    else {
      const stop = controller.controller.events.listen((event) => {
        if (event.type !== 'leader') return;
        stop();
        resolve();
      });
    }
  });
});

afterAll(async () => {
  await controller?.close();
  control?.close();
  await store?.close();
  rmSync(directory, { recursive: true, force: true });
});

// Each command is a process of its own: minutes on a busy machine, where nothing here depends on speed.
describe('skein', { timeout: 180_000 }, () => {
  it('shows help and version with status 0', async () => {
    const help = await skein(['--help']);
    expect(help.status).toBe(0);
    for (const noun of [
      'dev',
      'store',
      'node',
      'gateway',
      'controller',
      'shard',
      'plan',
      'forecast',
      'migration',
    ])
      expect(help.stdout).toMatch(new RegExp(`^ {2}${noun}\\b`, 'm'));
    expect((await skein(['node', '--help'])).stdout).toMatch(/drain/);
    expect((await skein(['--version'])).stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('lists, shows and explains shards, as text and as the documents of the API', async () => {
    const text = await skein(['shard', 'list']);
    expect(text.status).toBe(0);
    expect(text.stdout).toMatch(/^SHARD +NODE/);
    expect(text.stdout).toMatch(/^room\/a +us-n1 +us-east-1 +1 /m);
    const json = JSON.parse((await skein(['shard', 'list', '--limit', '2', '--json'])).stdout);
    expect(json).toMatchObject({ shards: [{ shard: 'room/a' }, { shard: 'room/b' }], next: 'room/b' });
    expect(JSON.parse((await skein(['shard', 'list', '--all', '--json'])).stdout).shards).toHaveLength(3);
    for (const name of ['room/café', 'room/caf%C3%A9'])
      expect(JSON.parse((await skein(['shard', 'show', name, '--json'])).stdout).key).toBe('café');
    expect((await skein(['shard', 'explain', 'room/a'])).stdout).toMatch(/where its first request put it/);
  });

  it('shows status, nodes, decisions, plan, migrations and mode', async () => {
    expect(JSON.parse((await skein(['status', '--json'])).stdout)).toMatchObject({ leads: true, shards: 3 });
    expect((await skein(['node', 'list'])).stdout).toMatch(/us-n2 +us-east-1/);
    expect((await skein(['decision', 'list', '--json'])).status).toBe(0);
    expect((await skein(['plan', 'show'])).stdout).toMatch(/no plan has held a move yet/);
    expect(JSON.parse((await skein(['migration', 'list', '--json'])).stdout)).toEqual({ migrations: [] });
    expect((await skein(['mode', 'recommend'])).stdout).toMatch(/recommend/);
  });

  it('cordons and uncordons a node', async () => {
    expect((await skein(['node', 'cordon', 'us-n2', '--reason', 'disk'])).status).toBe(0);
    expect((await skein(['node', 'uncordon', 'us-n2', '--json'])).stdout).toMatch(/"cordoned": false/);
  });

  it('says what happened, why and what to type next: status 1 for a failure, 2 for a wrong command line', async () => {
    const none = await skein(['shard', 'show', 'room/none']);
    expect(none.status).toBe(1);
    expect(none.stderr).toMatch(/no shard room\/none has been touched yet/);
    expect(none.stderr).toMatch(/why: {2}not-found \(404\)/);
    expect(none.stderr).toMatch(/next: /);
    const away = await skein(['status'], { SKEIN_API: 'http://127.0.0.1:9' });
    expect(away.status).toBe(1);
    expect(away.stderr).toMatch(/no controller answers.*\n.*\n.*skein dev/);
    const usage: [string[], RegExp][] = [
      [['shard', 'show', 'room'], /<service>\/<key>/],
      [['shard', 'move', 'room/a', '--to', 'mars'], /us-east-1, us-n1, us-n2/],
      [['shard', 'move', 'room/a'], /--to/],
      [['shrad'], /Did you mean shard/],
      [['mode', 'wild'], /not a mode/],
      [['node'], /a node needs --name, --region, --control, --app/],
      [['store', '--data', directory], /--control-store/],
      [['gateway', '--name', 'g'], /needs --region/],
      [['controller', '--control', '127.0.0.1:1', '--policy', 'wild'], /static, /],
      [['status', '--api', 'nonsense'], /not the address of an API/],
    ];
    await Promise.all(
      usage.map(async ([args, message]) => {
        const ran = await skein(args);
        expect(ran.stderr, args.join(' ')).toMatch(message);
        expect(ran.status, args.join(' ')).toBe(2);
      }),
    );
  });

  it('runs a role: a ready line when it serves, a clean end at SIGTERM, no token on its command line', async () => {
    const refused = await skein(['controller', '--control', store.address], { SKEIN_CLUSTER_TOKEN: '' });
    expect(refused.status).toBe(2);
    expect(refused.stderr).toMatch(/SKEIN_CLUSTER_TOKEN/);
    const open = await skein(['controller', '--control', store.address, '--api', '0.0.0.0:0'], {
      SKEIN_CLUSTER_TOKEN: token,
      SKEIN_LOG: 'silent',
    });
    expect(open.status).toBe(1);
    expect(open.stderr).toMatch(/will not listen on 0\.0\.0\.0 without a token/);
    const child = spawn(
      process.execPath,
      [BIN, 'controller', '--name', 'second', '--control', store.address, '--api', '127.0.0.1:0'],
      {
        env: { ...process.env, SKEIN_CLUSTER_TOKEN: token, SKEIN_LOG: 'silent' },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const line = await new Promise<string>((resolve) =>
      child.stdout.once('data', (chunk) => resolve(String(chunk))),
    );
    const ready = JSON.parse(line);
    expect(ready).toMatchObject({ ready: true, role: 'controller', name: 'second' });
    // A standby: the command follows it to the leader.
    const followed = await skein(['migration', 'list', '--json'], {
      SKEIN_API: `http://${ready.httpAddress}`,
    });
    expect(followed).toMatchObject({ status: 0 });
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
  });

  it.each([
    ['as one process', []],
    // What an older Node of the machine's own does, which lacks the call to become another.
    ['as a child of the command', ['--import', 'data:text/javascript,delete process.execve']],
  ])('ends in order by a SIGINT to the command alone, %s', async (_name, flags) => {
    const data = join(directory, `alone-${flags.length}`);
    const child = spawn(process.execPath, [...flags, BIN, 'store', '--data', data, '--control-store'], {
      env: { ...process.env, SKEIN_CLUSTER_TOKEN: token },
      // A group of its own, and no terminal: nobody else sends its processes anything.
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
  });

  it('completes commands in bash, zsh and fish', async () => {
    const bash = await skein(['completion', 'bash']);
    const asked = spawnSync(
      'bash',
      ['-c', `${bash.stdout}\nCOMP_WORDS=(skein shard mo); COMP_CWORD=2; _skein; echo "\${COMPREPLY[@]}"`],
      { encoding: 'utf8' },
    );
    expect(asked.stdout.trim()).toBe('move');
    const words = (...line: string[]) =>
      spawnSync(
        'bash',
        [
          '-c',
          `${bash.stdout}\nCOMP_WORDS=(skein "$@"); COMP_CWORD=$#; _skein; echo "\${COMPREPLY[@]}"`,
          'bash',
          ...line,
        ],
        { encoding: 'utf8' },
      ).stdout.trim();
    // The value of an option: one of its choices, or nothing of ours, so that the shell offers files.
    expect(words('forecast', 'show', '--metric', 'net')).toBe('networkIn networkOut');
    expect(words('placement', 'solve', '--why', '')).toBe('moved all none');
    expect(words('forecast', 'run', '--input', '')).toBe('');
    // A value is no command, and options of the root are everywhere.
    expect(words('--token', 'forecast', 'placement', '')).toMatch(/^solve generate --api --token --help$/);
    expect(words('forecast', 'run', '--max', '')).toContain('--max-over');
    expect((await skein(['completion', 'zsh'])).stdout).toMatch(/^#compdef skein/);
    const fish = (await skein(['completion', 'fish'])).stdout;
    expect(fish).toMatch(/__fish_seen_subcommand_from shard.*-a move -f/);
    expect(fish).toMatch(/-l input -r -F -d/);
    expect(fish).toMatch(/-l why -x -a 'moved all none'/);
    expect((await skein(['completion', 'tcsh'])).status).toBe(2);
  });
});
