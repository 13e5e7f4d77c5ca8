// A supervisor in a process of its own, for the test that kills it: starts two fake roles and prints their pids.
import { fileURLToPath } from 'node:url';
import { realIo } from '../../io/real.ts';
import { LocalSupervisor } from '../local-supervisor.ts';

const { clock, random, log } = realIo({ logLevel: 'silent' });
const supervisor = new LocalSupervisor({
  clock,
  random,
  log,
  entry: fileURLToPath(new URL('./fake-role.mjs', import.meta.url)),
  logDirectory: process.argv[2],
});
await supervisor.start({ role: 'node', name: 'a', arguments: (id) => ['serve', id] });
await supervisor.start({ role: 'node', name: 'b', arguments: (id) => ['ignore-sigterm', id] });
console.log(JSON.stringify(supervisor.processes().map(({ pid }) => pid)));
