/** The whole command line as one tree of commands. Nothing here runs before its command is called. */
import type { Command } from 'commander';
import { addBacktestCommand } from './backtest.ts';
import { addCompletionCommand } from './completion.ts';
import { addDoctorCommand } from './doctor.ts';
import { addForecastCommands } from './forecast.ts';
import { addLoopCommands } from './loop.ts';
import { addMigrationCommand } from './migration.ts';
import { addPlacementCommand } from './placement.ts';
import { addRoleCommands } from './roles.ts';
import { emptyProgram } from './root.ts';
import { addShardCommand } from './shard.ts';

/** @param addDev adds `skein dev`, which needs more modules than the rest together */
export function makeProgram(addDev?: (program: Command) => void): Command {
  const program = emptyProgram();
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
