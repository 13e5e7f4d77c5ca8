/** `skein`: runs one command and ends with its exit status. */
import { type Command, CommanderError } from 'commander';
import { CliError, EXIT, formatError } from './errors.ts';
import { cannotWrite } from './files.ts';
import { addRoleCommands, ROLE_COMMANDS } from './roles.ts';
import { emptyProgram } from './root.ts';

/** Reading from a pipe that was closed (`| head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  process.stderr.write(formatError(cannotWrite('-', error)));
  process.exit(EXIT.failed);
});

const program = ROLE_COMMANDS.has(process.argv[2] ?? '') ? roleProgram() : await wholeProgram();
strict(program);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are asked for; everything else commander throws is a wrong command line, already explained.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else {
    process.stderr.write(formatError(error));
    process.exitCode = error instanceof CliError ? error.exitCode : EXIT.failed;
  }
}

/** A role's process loads its own commands only: it is started again after a crash, while everybody waits for it. */
function roleProgram(): Command {
  const root = emptyProgram();
  addRoleCommands(root);
  return root;
}

async function wholeProgram(): Promise<Command> {
  const { makeProgram } = await import('./program.ts');
  const { addDevCommand } = await import('./dev.ts');
  return makeProgram(addDevCommand);
}

/** Every command throws instead of exiting, so that exit statuses are decided in one place. */
function strict(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) strict(sub);
}
