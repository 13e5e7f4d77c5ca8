/** The whole command line as one tree of commands. Nothing here runs before its command is called. */
import { Command } from 'commander';
import { addBacktestCommand } from './backtest.ts';
import { addCompletionCommand } from './completion.ts';
import { addDoctorCommand } from './doctor.ts';
import { addForecastCommands } from './forecast.ts';
import { addLoopCommands } from './loop.ts';
import { addMigrationCommand } from './migration.ts';
import { addPlacementCommand } from './placement.ts';
import { addRoleCommands } from './roles.ts';
import { addShardCommand } from './shard.ts';
import { packageVersion } from './version.ts';

/** @param addDev adds `skein dev`, which needs more modules than the rest together */
export function makeProgram(addDev?: (program: Command) => void): Command {
  const program = new Command('skein');
  program
    .description('stateful TypeScript services as shards that move before they have to')
    .version(packageVersion())
    .option('--api <url>', 'admin API of a controller; else SKEIN_API, else http://127.0.0.1:7460')
    .option(
      '--token <token>',
      'token of the admin API; SKEIN_TOKEN is better, since others can read arguments',
    )
    .showHelpAfterError('(add --help to see what there is)')
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true });
  addDev?.(program);
  addLoopCommands(program);
  addForecastCommands(program);
  addShardCommand(program);
  addMigrationCommand(program);
  addBacktestCommand(program);
  addPlacementCommand(program);
  addRoleCommands(program);
  addDoctorCommand(program);
  addCompletionCommand(program);
  return program;
}
