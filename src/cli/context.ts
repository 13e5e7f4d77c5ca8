/** What every verb shares: the global options, the API client and where to write. */
import type { Command } from 'commander';
import { ApiClient } from './api-client.ts';
import { CliError, EXIT } from './errors.ts';

export interface GlobalOptions {
  api?: string;
  token?: string;
  json?: boolean;
}

/** Options of the command itself and of all its parents. */
export function optionsOf<T extends object>(command: Command): T & GlobalOptions {
  return command.optsWithGlobals() as T & GlobalOptions;
}

export function client(command: Command): ApiClient {
  const { api, token } = optionsOf(command);
  return new ApiClient({ url: api, token });
}

/** With `--json` the API's own document, which docs/api.md describes; otherwise text for people. */
export function output(command: Command, value: unknown, text: () => string): void {
  process.stdout.write(optionsOf(command).json ? `${JSON.stringify(value, null, 2)}\n` : text());
}

export function jsonOption(command: Command): Command {
  return command.option('--json', 'print a JSON document instead of text (docs/cli.md)');
}

/** `room/lobby` as the path of the API; the key may be given plain or percent-encoded. */
export function shardPath(shard: string): string {
  const slash = shard.indexOf('/');
  if (slash <= 0 || slash === shard.length - 1)
    throw new CliError(`${JSON.stringify(shard)} is not a shard`, {
      next: 'write it as <service>/<key>, such as room/lobby; `skein shard list` shows those there are',
      exitCode: EXIT.usage,
    });
  const key = shard.slice(slash + 1);
  return `${encodeURIComponent(shard.slice(0, slash))}/${encodeURIComponent(plainKey(key))}`;
}

/** Ids are printed percent-encoded, so a well-formed encoding is taken as one. */
function plainKey(key: string): string {
  if (!/%[0-9A-Fa-f]{2}/.test(key)) return key;
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
