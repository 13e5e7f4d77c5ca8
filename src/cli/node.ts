/** `skein node list|drain|cordon|uncordon`; `skein node` alone runs a node (`roles.ts`). */
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import type { NodeView } from '../controller/operations.ts';
import { client, jsonOption, optionsOf, output } from './context.ts';
import { bytes, duration, table, usdPerHour } from './table.ts';

const POLL_MS = 500;

/** Adds the verbs to the command that runs the role. */
export function addNodeVerbs(node: Command): void {
  jsonOption(node.command('list'))
    .description('nodes of the cluster')
    .action(async (_options, command: Command) => {
      const found = await client(command).get<{ nodes: NodeView[] }>('/v1/nodes');
      output(command, found, () => {
        const rows = found.nodes.map((n) => [
          n.name,
          n.region,
          n.zone,
          n.cordoned ? `${n.state}, cordoned` : n.state,
          String(n.shards),
          `${n.capacity.cpu.toFixed(2)} cores, ${bytes(n.capacity.memoryBytes)}`,
          usdPerHour(n.usdPerHour),
          n.httpAddress,
          duration(Date.now() - n.startedAtMs),
        ]);
        return table(
          ['NODE', 'REGION', 'ZONE', 'STATE', 'SHARDS', 'CAPACITY', 'PRICE', 'HTTP', 'UP'],
          rows,
          'no nodes',
        );
      });
    });
  jsonOption(node.command('drain'))
    .argument('<node>', 'its name')
    .option('--wait', 'until no shard is left on it')
    .description('empty a node: it takes nothing new, and its shards are moved away live')
    .action(async (name: string, _options, command: Command) => {
      const api = client(command);
      const started = await api.post<{ node: string; shards: number }>(
        `/v1/nodes/${encodeURIComponent(name)}/drain`,
      );
      if (optionsOf<{ wait?: boolean }>(command).wait) {
        for (let left = started.shards; left > 0; ) {
          await pause(POLL_MS);
          const { nodes } = await api.get<{ nodes: NodeView[] }>('/v1/nodes');
          const now = nodes.find((n) => n.name === name)?.shards ?? 0;
          if (now !== left && !optionsOf(command).json) process.stderr.write(`${now} shards left\n`);
          left = now;
        }
      }
      output(command, started, () => `${started.node} is being drained of ${started.shards} shards\n`);
    });
  jsonOption(node.command('cordon'))
    .argument('<node>', 'its name')
    .option('--reason <text>', 'shown to others', 'by hand')
    .description('let placement put nothing new on a node')
    .action(async (name: string, _options, command: Command) => {
      const { reason } = optionsOf<{ reason: string }>(command);
      const done = await client(command).post(`/v1/nodes/${encodeURIComponent(name)}/cordon`, { reason });
      output(command, done, () => `${name} takes nothing new until \`skein node uncordon ${name}\`\n`);
    });
  jsonOption(node.command('uncordon'))
    .argument('<node>', 'its name')
    .description('end a cordon')
    .action(async (name: string, _options, command: Command) => {
      const done = await client(command).post(`/v1/nodes/${encodeURIComponent(name)}/uncordon`);
      output(command, done, () => `${name} takes new shards again\n`);
    });
}
