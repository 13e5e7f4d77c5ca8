/** `skein migration list|cancel`, and waiting for one to end. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { latencyText, type MigrationView } from '../controller/executor.ts';
import type { ApiClient } from './api-client.ts';
import { client, jsonOption, output } from './context.ts';
import { CliError } from './errors.ts';
import { duration, table } from './table.ts';

const POLL_MS = 250;
/** Looks at a list that does not hold the migration before giving up: a new leader resumes within a few. */
const MISSING_LOOKS_MAX = 40;

export function addMigrationCommand(program: Command): void {
  const migration = program.command('migration').description('see and stop moves under way');
  jsonOption(migration.command('list'))
    .description('moves under way, and those that ended lately')
    .action(async (_options, command: Command) => {
      const found = await client(command).get<{ migrations: MigrationView[] }>('/v1/migrations');
      output(command, found, () => {
        const rows = found.migrations.map((m) => [
          m.id,
          m.shard,
          `${m.sourceName ?? m.source} -> ${m.targetName ?? m.target}`,
          m.outcome ?? m.step,
          `${m.percent} %`,
          m.endedAtMs === undefined ? '' : duration(m.endedAtMs - m.startedAtMs),
          latencyText(m) ?? '',
          m.detail || m.reason,
        ]);
        return table(
          ['MIGRATION', 'SHARD', 'FROM -> TO', 'STEP', 'SHIFT', 'TOOK', 'USERS WAIT', 'REASON'],
          rows,
          'no moves yet',
        );
      });
    });
  jsonOption(migration.command('cancel'))
    .argument('<migration>', 'its id')
    .description('roll a move back')
    .action(async (id: string, _options, command: Command) => {
      const done = await client(command).post<{ migration: string }>(
        `/v1/migrations/${encodeURIComponent(id)}/cancel`,
      );
      output(command, done, () => `${done.migration} is being rolled back\n`);
    });
}

/** Shows step and percent as they change; resolves when it completed, and throws when it did not. */
export async function waitForMigration(api: ApiClient, id: string, quiet: boolean): Promise<MigrationView> {
  const live = process.stderr.isTTY && !quiet;
  let shown = '';
  let missing = 0;
  for (;;) {
    const { migrations } = await api.get<{ migrations: MigrationView[] }>('/v1/migrations');
    const found = migrations.find((m) => m.id === id);
    if (!found && ++missing > MISSING_LOOKS_MAX)
      throw new CliError(`the move ${id} is not known any more`, {
        why: 'another controller leads now, or it ended long ago',
        next: '`skein shard show` tells where the shard is',
      });
    if (found) {
      missing = 0;
      const line = `${found.step} ${found.percent} %${found.bytesTotal > 0 ? ` (${Math.round((100 * found.bytesTransferred) / found.bytesTotal)} % of the state)` : ''}`;
      if (line !== shown && !quiet) process.stderr.write(live ? `\r\u001b[K${line}` : `${line}\n`);
      shown = line;
      if (found.outcome !== undefined) {
        if (live) process.stderr.write('\n');
        if (found.outcome === 'completed') return found;
        throw new CliError(`the move ${found.outcome === 'rolledBack' ? 'was rolled back' : 'failed'}`, {
          why: found.detail,
          next: '`skein shard explain` tells where the shard is and why',
        });
      }
    }
    await pause(POLL_MS);
  }
}
