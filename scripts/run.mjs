#!/usr/bin/env node
// Runs every npm script of the project. Plain JavaScript for any Node >= 18: on a fresh clone it first
// installs what package-lock.json names (Node 24 among it), then hands over to that Node.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bin = join(root, 'node_modules', '.bin');
const installedNode = join(bin, process.platform === 'win32' ? 'node.exe' : 'node');
/** Node 22.19 and later run the sources as they are; where no binary comes with `npm ci`, the machine's own must do. */
const ownNodeWillDo =
  Number(process.versions.node.split('.')[0]) >= 23 || /^22\.(19|[2-9]\d)\./.test(process.versions.node);
const nodeBinary = () => (existsSync(installedNode) ? installedNode : process.execPath);

const tasks = {
  start: [['node', '--conditions=skein-source', 'src/cli/main.ts', 'dev']],
  build: [['node', 'scripts/build.mjs']],
  check: [
    ['biome', 'check', '.'],
    ['tsc', '--noEmit'],
  ],
  test: [
    ['biome', 'check', '.'],
    ['tsc', '--noEmit'],
    ['vitest', 'run'],
  ],
};

/** node_modules is stale when the lock file is newer than npm's record of what it installed. */
function mustInstall() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return true;
  return statSync(join(root, 'package-lock.json')).mtimeMs > statSync(record).mtimeMs && !sameLock(record);
}

function sameLock(record) {
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  return Object.keys(installed).every((path) => wanted[path]?.version === installed[path].version);
}

const [taskName, ...extra] = process.argv.slice(2);
const task = tasks[taskName];
if (!task) {
  console.error(`skein: no task ${JSON.stringify(taskName)}; there are ${Object.keys(tasks).join(', ')}.`);
  process.exit(2);
}

if (mustInstall()) {
  console.error('skein: installing what package-lock.json names (npm ci) ...');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const installed = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (installed.status !== 0) {
    console.error(
      'skein: npm ci failed (see above). Check the network and the registry, then run the same command again.',
    );
    process.exit(installed.status ?? 1);
  }
}

if (!existsSync(installedNode) && !ownNodeWillDo) {
  console.error(
    `skein: this machine has Node ${process.versions.node}, and no Node 24 for ${process.platform} ${process.arch} came with npm ci. Install Node 22.19 or later, then run the same command again.`,
  );
  process.exit(1);
}

if (taskName === 'test') needEtcd();

const env = {
  ...process.env,
  PATH: `${bin}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH ?? ''}`,
};
for (const [index, command] of task.entries()) {
  const [program, ...fixed] = command;
  const args = index === task.length - 1 ? [...fixed, ...extra] : fixed;
  const status = await run(program === 'node' ? nodeBinary() : join(bin, program), args, env);
  if (status !== 0) process.exit(status);
}

/** Tests run against a real etcd; none of them is skipped without it. As root on Debian it is installed here. */
function needEtcd() {
  const there = () => spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status === 0;
  if (there()) return;
  const command = 'apt-get update && apt-get install -y --no-install-recommends etcd-server';
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    console.error(`skein: the tests need etcd; installing it (${command}) ...`);
    spawnSync('sh', ['-c', command], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    if (there()) return;
  }
  console.error(
    `skein: the tests need etcd 3.4 or later, and there is no \`etcd\` in PATH. On Debian or Ubuntu, as root: ${command}. Elsewhere install etcd by your package manager, then run npm test again.`,
  );
  process.exit(1);
}

/** The child shares our terminal, so Ctrl-C reaches it by itself; we only wait for its orderly end. */
function run(program, args, env) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, env, stdio: 'inherit' });
    const forward = (signal) => child.kill(signal);
    const ignore = () => {};
    process.on('SIGINT', ignore);
    process.on('SIGTERM', forward);
    child.on('error', (error) => {
      console.error(`skein: could not start ${program}: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code, signal) => {
      process.off('SIGINT', ignore);
      process.off('SIGTERM', forward);
      resolve(code ?? (signal ? 130 : 1));
    });
  });
}
