/**
 * What every role's process shares: its flags, its world, its ready line, its signals.
 *
 * A process prints one JSON line on its standard output when it serves (a supervisor waits for it) and logs to its
 * standard error. The first SIGTERM or SIGINT drains and ends it; a second one ends it at once. Tokens come from the
 * environment or a file: on a command line every user of the machine could read them.
 */
import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { type Command, Option } from 'commander';
import { EmulatedNetwork } from '../io/emulated-network.ts';
import { type Io, randomId } from '../io/io.ts';
import { realClock, realIo } from '../io/real.ts';
import { TcpNetwork } from '../io/tcp-network.ts';
import { AWS_THREE_REGIONS, type Topology } from '../model/topology.ts';
import { CliError, EXIT, formatError } from './errors.ts';
import { type StoreFlags, storeOptions } from './stores.ts';

export interface RoleOptions extends StoreFlags {
  name?: string;
  region?: string;
  zone?: string;
  listen: string;
  http?: string;
  data?: string;
  token?: string;
  tokenFile?: string;
  processId?: string;
  logLevel?: string;
  emulateRtt?: boolean;
}

/** A role that serves. */
export interface RunningRole {
  address?: string;
  httpAddress?: string;
  /** Rejects or resolves when the role ended by itself; absent: it never does. */
  ended?: Promise<unknown>;
  /** Drains where the role can, then ends. */
  close(): Promise<void>;
}

export interface RoleContext {
  io: Io;
  name: string;
  region: string;
  processId: string;
  token: string;
  /** Where round trips between regions are emulated. */
  topology: Topology | undefined;
}

export function roleOptions(command: Command): Command {
  return storeOptions(command)
    .option('--name <name>', 'stable name, the same after a restart')
    .option('--region <region>', 'where it is')
    .option('--zone <zone>', 'failure domain inside the region')
    .option('--control <address>', 'where the control store is: host:port, or etcd://host:2379,...')
    .option('--listen <host:port>', 'wire listener; port 0 picks one', '127.0.0.1:0')
    .option('--http <host:port>', 'plain HTTP; port 0 picks one')
    .option('--data <directory>', 'where files go')
    .addOption(
      new Option(
        '--cluster-token <token>',
        'for tests; others can read it: prefer SKEIN_CLUSTER_TOKEN',
      ).hideHelp(),
    )
    .option('--token-file <file>', 'file with the token of the cluster; else SKEIN_CLUSTER_TOKEN')
    .option('--process-id <id>', 'unique per start; made up where absent')
    .option('--log-level <level>', 'silent, error, warn, info or debug')
    .option('--emulate-rtt', 'delay frames between regions by their published round trips');
}

/** @throws CliError where a flag that the role cannot do without is missing. */
export function needed(role: string, options: object, ...names: string[]): void {
  const given = options as Record<string, unknown>;
  // The file of stores names the control store as well.
  const missing = names.filter(
    (name) => given[camel(name)] === undefined && !(name === 'control' && given.stores !== undefined),
  );
  if (missing.length > 0)
    throw new CliError(`a ${role} needs ${missing.map((name) => `--${name}`).join(', ')}`, {
      next: `see \`skein ${role} --help\`, or let \`skein dev\` start all roles`,
      exitCode: EXIT.usage,
    });
}

function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function secret(options: {
  given?: string;
  file?: string;
  environment: string | undefined;
}): string | undefined {
  if (options.file !== undefined) {
    let token: string;
    try {
      token = readFileSync(options.file, 'utf8').trim();
    } catch (cause) {
      throw new CliError(`the token file ${options.file} cannot be read`, {
        why: (cause as Error).message,
        cause,
      });
    }
    if (token === '') throw new CliError(`the token file ${options.file} is empty`);
    return token;
  }
  return options.given ?? (options.environment === '' ? undefined : options.environment);
}

/** Builds the role's world, starts it, says so, and ends it when told. */
export async function runRole(
  role: string,
  options: RoleOptions & { clusterToken?: string },
  start: (context: RoleContext) => Promise<RunningRole>,
): Promise<void> {
  const region = options.region ?? AWS_THREE_REGIONS.regions[0]!;
  const name = options.name ?? role;
  const token = secret({
    given: options.clusterToken ?? options.token,
    file: options.tokenFile,
    environment: process.env.SKEIN_CLUSTER_TOKEN,
  });
  if (token === undefined)
    throw new CliError('the token of the cluster is missing', {
      why: 'processes of a cluster prove to each other that they belong to it',
      next: 'set SKEIN_CLUSTER_TOKEN to the same secret for all of them, or give --token-file',
      exitCode: EXIT.usage,
    });
  const topology = options.emulateRtt ? AWS_THREE_REGIONS : undefined;
  const network = topology
    ? new EmulatedNetwork({
        inner: new TcpNetwork(),
        clock: realClock,
        region,
        topology,
      })
    : new TcpNetwork();
  const log = { role, name, region };
  const bare = realIo({ log, logLevel: options.logLevel, network });
  const processId = options.processId ?? `${name}.${randomId(bare.random).slice(0, 6)}`;
  const io: Io = { ...bare, log: bare.log.child({ processId }) };
  process.on('unhandledRejection', (error) => {
    io.log.error({ error: error instanceof Error ? error.stack : String(error) }, 'a promise nobody awaited');
    // A bug stops the process: its state can no longer be trusted, and nothing acknowledged is lost by it.
    process.exit(EXIT.failed);
  });
  const stopping = stopSignal();
  const running = await start({ io, name, region, processId, token, topology });
  process.stdout.write(
    `${JSON.stringify({
      ready: true,
      role,
      name,
      address: running.address,
      httpAddress: running.httpAddress,
      processId,
    })}\n`,
  );
  // Where the supervisor gave a folder for compiled code: written now, since many a process is not asked before it ends.
  flushCompileCache?.();
  const signal = await Promise.race([stopping, running.ended ?? new Promise<never>(() => {})]);
  io.log.info({ signal: String(signal ?? 'ended') }, 'ending');
  await running.close();
  process.exit(EXIT.ok);
}

/** Resolves with the first signal; the second one ends the process. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: string) => {
      if (asked) {
        process.stderr.write(formatError(new CliError(`ended at once by a second ${signal}`)));
        process.exit(EXIT.failed);
      }
      asked = true;
      resolve(signal);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
