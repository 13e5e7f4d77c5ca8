#!/usr/bin/env node
// The command. Plain JavaScript for any Node >= 18, because it must say what is wrong where Node is too old.
// In the published package it runs dist/; in a clone it runs the sources, with the clone's own Node where needed.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'src', 'cli', 'main.ts');
const built = join(root, 'dist', 'cli', 'main.js');
const [major, minor] = process.versions.node.split('.').map(Number);
const newEnough = major > 22 || (major === 22 && minor >= 19);

if (!existsSync(source)) {
  if (!newEnough) {
    console.error(`skein: Node ${process.versions.node} is too old; it needs 22.19 or newer.`);
    console.error('  next: install a newer Node from https://nodejs.org, then run the same command again');
    process.exit(1);
  }
  await import(pathToFileURL(built).href);
} else {
  const own = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (!newEnough && !existsSync(own)) {
    console.error(`skein: Node ${process.versions.node} is too old, and this clone has none of its own yet.`);
    console.error('  next: run `npm ci` here, then the same command again');
    process.exit(1);
  }
  const binary = newEnough ? process.execPath : own;
  const args = [
    '--conditions=skein-source',
    '--disable-warning=ExperimentalWarning',
    source,
    ...process.argv.slice(2),
  ];
  // This process becomes that one, so that each signal reaches it once, whoever sends it.
  if (process.execve && process.platform !== 'win32')
    process.execve(binary, [binary, ...args], { ...process.env });
  const child = spawn(binary, args, { stdio: 'inherit' });
  // A terminal's Ctrl-C reaches the child by itself, and a second one would end it at once. We end as the child does.
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on('SIGINT', () => atTerminal || child.kill('SIGINT'));
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`skein: could not start Node: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}
