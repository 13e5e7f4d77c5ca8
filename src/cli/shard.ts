/** `skein shard list|show|move|release|explain`. */
import type { Command } from 'commander';
import type { ShardExplanation } from '../controller/explain.ts';
import type { ShardView } from '../controller/operations.ts';
import { client, jsonOption, optionsOf, output, shardPath } from './context.ts';
import { CliError, EXIT } from './errors.ts';
import { waitForMigration } from './migration.ts';
import { wholeNumber } from './numbers.ts';
import { bytes, listing, table } from './table.ts';

export function addShardCommand(program: Command): void {
  const shard = program.command('shard').description('see, move and explain shards');
  jsonOption(shard.command('list'))
    .description('shards in order of id')
    .option('--node <name>', 'only those on this node')
    .option('--region <region>', 'only those in this region')
    .option('--service <service>', 'only those of this service')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000_000), 100)
    .option('--after <shard>', 'go on after this id')
    .option('--all', 'all of them')
    .action(async (_options, command: Command) => list(command));
  jsonOption(shard.command('show'))
    .argument('<shard>', '<service>/<key>')
    .description('where a shard is')
    .action(async (id: string, _options, command: Command) => {
      const found = await client(command).get<ShardView>(`/v1/shards/${shardPath(id)}`);
      output(command, found, () => show(found));
    });
  jsonOption(shard.command('move'))
    .argument('<shard>', '<service>/<key>')
    .requiredOption('--to <node|region>', 'name of a node, or a region')
    .option(
      '--cell <cell>',
      'the cell of that region which holds its log; else it keeps its own, if of that region',
    )
    .option('--wait', 'show its progress, and fail if it does not complete')
    .description('move a shard live; placement then leaves it there for five minutes')
    .action(async (id: string, _options, command: Command) => move(id, command));
  jsonOption(shard.command('release'))
    .argument('<shard>', '<service>/<key>')
    .description('let a quarantined shard take commands again')
    .action(async (id: string, _options, command: Command) => {
      const done = await client(command).post<{ shard: string }>(`/v1/shards/${shardPath(id)}/release`);
      output(command, done, () => `${done.shard} takes commands again\n`);
    });
  jsonOption(shard.command('explain'))
    .argument('<shard>', '<service>/<key>')
    .description('why a shard is where it is, what moving it would gain and cost, and what is foreseen')
    .action(async (id: string, _options, command: Command) => {
      const found = await client(command).get<ShardExplanation>(`/v1/shards/${shardPath(id)}/explain`);
      output(command, found, () =>
        [
          `${found.shard} is on ${found.node}${found.region ? ` (${found.region})` : ''}\n`,
          listing('Why it is there', found.because),
          listing('What moving it would gain and cost', found.moving),
          listing('What is foreseen', found.foreseen),
        ].join('\n'),
      );
    });
}

async function list(command: Command): Promise<void> {
  const options = optionsOf<{
    node?: string;
    region?: string;
    service?: string;
    limit: number;
    after?: string;
    all?: boolean;
  }>(command);
  const api = client(command);
  const wanted = options.all ? Number.POSITIVE_INFINITY : options.limit;
  const shards: ShardView[] = [];
  let after = options.after;
  let next: string | undefined;
  do {
    const page = await api.get<{ shards: ShardView[]; next?: string }>('/v1/shards', {
      node: options.node,
      region: options.region,
      service: options.service,
      after,
      limit: Math.min(1_000, wanted - shards.length),
    });
    shards.push(...page.shards);
    next = page.next;
    after = next;
  } while (next !== undefined && shards.length < wanted);
  output(command, { shards, next }, () => {
    const rows = shards.map((s) => [
      s.shard,
      s.orphaned ? `${s.node} (gone)` : s.node,
      s.region ?? '',
      String(s.epoch),
      bytes(s.stateBytes),
      s.quarantine?.quarantined
        ? 'quarantined'
        : s.migration
          ? `-> ${s.migration.target} ${s.migration.percent} %`
          : '',
    ]);
    const text = table(['SHARD', 'NODE', 'REGION', 'EPOCH', 'STATE', ''], rows, 'no shards yet');
    return next === undefined ? text : `${text}... more: --after ${next}, or --all\n`;
  });
}

function show(s: ShardView): string {
  const rows = [
    ['shard', s.shard],
    ['node', s.orphaned ? `${s.node} (gone)` : s.node],
    ['process', s.processId],
    ['region', s.region ?? ''],
    ['zone', s.zone ?? ''],
    ['cell', s.cell],
    ['epoch', String(s.epoch)],
    ['state', bytes(s.stateBytes)],
    ['standbys', s.standbys.join(', ') || 'none'],
  ];
  if (s.migration)
    rows.push(['moving', `to ${s.migration.target}: ${s.migration.step}, ${s.migration.percent} %`]);
  if (s.quarantine)
    rows.push([
      s.quarantine.quarantined ? 'quarantined' : 'suspected',
      `${s.quarantine.handler} was running when a node died`,
    ]);
  return table(['', ''], rows).trimStart();
}

async function move(id: string, command: Command): Promise<void> {
  const { to, cell, wait, json } = optionsOf<{ to: string; cell?: string; wait?: boolean }>(command);
  const api = client(command);
  const { nodes } = await api.get<{ nodes: { name: string; region: string }[] }>('/v1/nodes');
  const names = nodes.map((node) => node.name);
  const regions = [...new Set(nodes.map((node) => node.region))];
  if (!names.includes(to) && !regions.includes(to))
    throw new CliError(`${to} is neither a node nor a region of this cluster`, {
      next: `choose one of ${[...regions, ...names].join(', ')}`,
      exitCode: EXIT.usage,
    });
  const started = await api.post<{ migration: string; target: string }>(`/v1/shards/${shardPath(id)}/move`, {
    ...(names.includes(to) ? { node: to } : { region: to }),
    cell,
  });
  if (!wait) {
    output(
      command,
      started,
      () => `moving ${id} to ${started.target}: ${started.migration}\n(see \`skein migration list\`)\n`,
    );
    return;
  }
  const ended = await waitForMigration(api, started.migration, json === true);
  output(command, ended, () => `${id} is on ${started.target}\n`);
}
