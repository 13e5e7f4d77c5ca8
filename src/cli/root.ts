/** The root of every tree of commands: global options, and how errors and help look. */
import { Command } from 'commander';
import { packageVersion } from './version.ts';

export function emptyProgram(): Command {
  return new Command('skein')
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
}
