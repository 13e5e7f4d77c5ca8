/** `skein store|node|gateway|controller`: each runs one role in this process until it is told to stop. */
import type { Command } from 'commander';
import { POLICIES, type PolicyName } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { CliError, EXIT } from './errors.ts';
import { addNodeVerbs } from './node.ts';
import { number, positive, wholeNumber } from './numbers.ts';
import { needed, type RoleOptions, roleOptions, runRole, secret } from './role-process.ts';
import { chooseStores } from './stores.ts';
import { packageVersion } from './version.ts';

/** First words of a command line that need nothing but {@link addRoleCommands}. */
export const ROLE_COMMANDS: ReadonlySet<string> = new Set(['store', 'node', 'gateway', 'controller']);

export function addRoleCommands(program: Command): void {
  addStore(program);
  addNode(program);
  addGateway(program);
  addController(program);
}

function addStore(program: Command): void {
  roleOptions(program.command('store'))
    .description('run a store process: a cell, the control store, or both')
    .option('--cell <name>', 'serve the cell of this name')
    .option('--control-store', 'serve the control store')
    .action(async (options: RoleOptions & { cell?: string; controlStore?: boolean }) => {
      needed('store', options, 'data');
      if (options.cell !== undefined) needed('store', options, 'region');
      if (options.cell === undefined && !options.controlStore)
        throw new CliError('a store serves a cell, the control store, or both', {
          next: 'add --cell cell-us-east-1, --control-store, or both',
          exitCode: EXIT.usage,
        });
      await runRole('store', options, async ({ io, token, region }) => {
        const { runStoreProcess } = await import('../store/process.ts');
        const store = await runStoreProcess({
          io,
          token,
          address: options.listen,
          dataDirectory: options.data!,
          cellId: options.cell,
          region: options.cell === undefined ? undefined : region,
          control: options.controlStore === true,
          controlAddress: options.control,
        });
        let ready = true;
        const health = options.http ? await serveHealth(options.http, () => ready) : undefined;
        return {
          address: store.address,
          httpAddress: health?.address,
          close: async () => {
            ready = false;
            await health?.close();
            await store.close();
          },
        };
      });
    });
}

/** Health and process metrics for a role without HTTP of its own. */
async function serveHealth(address: string, ready: () => boolean) {
  const { collectDefaultMetrics, Registry } = await import('prom-client');
  const { serveFetch } = await import('../io/fetch-server.ts');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return serveFetch({
    address,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === '/metrics')
        return new Response(await registry.metrics(), { headers: { 'content-type': registry.contentType } });
      if (pathname === '/healthz') return Response.json({ ok: true });
      if (pathname === '/readyz') return Response.json({ ready: ready() }, { status: ready() ? 200 : 503 });
      return Response.json({ title: 'There is nothing here', status: 404 }, { status: 404 });
    },
  });
}

function addController(program: Command): void {
  roleOptions(program.command('controller'))
    .description('run a controller: the loop, on whichever of them leads, and the admin API')
    .option('--api <host:port>', 'admin API (127.0.0.1:7460); beyond this machine it needs SKEIN_TOKEN')
    .option('--api-token-file <file>', 'file with the token of the admin API; else SKEIN_TOKEN')
    .option('--policy <policy>', POLICIES.join(', '), 'predictive')
    .option('--mode <mode>', 'observe, recommend or auto; what `skein mode` sets later stays', 'auto')
    .option('--step-ms <ms>', 'time between ticks', wholeNumber(50, 3_600_000), 1_000)
    .option('--seed <text>', 'seeds the search of the planner', 'skein')
    .option('--lead-s <seconds>', 'how far ahead a move is decided for', wholeNumber(1, 86_400))
    .option(
      '--learn-s <seconds>',
      'for bestFixed: load to learn from before the one placement',
      wholeNumber(1, 86_400),
    )
    .option('--half-life-s <seconds>', 'for reactive: after which a request weighs half', positive)
    .option('--oracle <file>', 'for oracle: the load to come')
    .option('--no-network', 'for predictive: without the trained network')
    .option('--model <file>', 'for predictive: an ONNX model of your own beside it, described by <file>.json')
    .option(
      '--migration-dwell-ms <ms>',
      'longest time of one step of a traffic shift (10,000)',
      wholeNumber(50, 3_600_000),
    )
    .option(
      '--migration-samples <count>',
      'requests at the target that end a step early (30)',
      wholeNumber(1, 1_000_000),
    )
    .option('--migration-moves <count>', 'moves at once (64)', wholeNumber(1, 10_000))
    .option(
      '--migration-moves-per-node <count>',
      'moves at once that a node takes part in (32)',
      wholeNumber(1, 10_000),
    )
    .option('--no-migration-give-way', 'copies go at full speed, whoever waits for it')
    .option(
      '--move-cpu-s-per-gb <seconds>',
      'CPU that each end of a move spends on a gigabyte; as nodes measure it where absent',
      number(0, 1_000),
    )
    .action(async (options: ControllerFlags, command: Command) => {
      needed('controller', options, 'control');
      const stores = await chooseStores(options);
      if (!(POLICIES as readonly string[]).includes(options.policy))
        throw new CliError(`${options.policy} is not a policy`, {
          next: `choose one of ${POLICIES.join(', ')}`,
          exitCode: EXIT.usage,
        });
      if (!['observe', 'recommend', 'auto'].includes(options.mode))
        throw new CliError(`${options.mode} is not a mode`, {
          next: 'choose one of observe, recommend, auto',
          exitCode: EXIT.usage,
        });
      const own = command.opts<ControllerFlags>();
      // The program has an `--api` too and takes it wherever it stands; for this command it says where ours listens.
      const apiAddress = command.optsWithGlobals<ControllerFlags>().api ?? '127.0.0.1:7460';
      await runRole('controller', own, async ({ io, name, region, processId, token }) => {
        const { runControllerProcess } = await import('../controller/process.ts');
        return runControllerProcess({
          io,
          name,
          region,
          processId,
          token,
          controlAddress: stores.controlAddress,
          etcd: stores.etcd,
          listen: own.listen,
          apiAddress,
          apiToken: secret({ file: own.apiTokenFile, environment: process.env.SKEIN_TOKEN }),
          version: packageVersion(),
          policy: own.policy,
          mode: own.mode,
          stepMs: own.stepMs,
          seed: own.seed,
          leadS: own.leadS,
          learnS: own.learnS,
          halfLifeS: own.halfLifeS,
          oracleFile: own.oracle,
          network: own.network,
          modelFile: own.model,
          moveCpuSecondsPerGb: own.moveCpuSPerGb,
          dataDirectory: own.data,
          migrationSettings: given({
            stepDwellMsMax: own.migrationDwellMs,
            stepSamplesMin: own.migrationSamples,
            giveWay: own.migrationGiveWay,
          }),
          migrationLimits: given({
            movesMax: own.migrationMoves,
            movesPerNodeMax: own.migrationMovesPerNode,
          }),
        });
      });
    });
}

/** Without the members that are undefined: those must not hide a default. */
function given<T extends object>(values: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>;
  };
}

interface ControllerFlags extends RoleOptions {
  api?: string;
  apiTokenFile?: string;
  policy: PolicyName;
  mode: 'observe' | 'recommend' | 'auto';
  stepMs: number;
  seed: string;
  leadS?: number;
  learnS?: number;
  halfLifeS?: number;
  oracle?: string;
  network?: boolean;
  model?: string;
  migrationDwellMs?: number;
  migrationSamples?: number;
  migrationMoves?: number;
  migrationMovesPerNode?: number;
  migrationGiveWay?: boolean;
  moveCpuSPerGb?: number;
}

/** One event loop; what the process needs beside its handlers is measured and counted against it by placement. */
const NODE_CPU_DEFAULT = 1;
const NODE_MEMORY_MB_DEFAULT = 1_024;
/** 1 Gbit/s. */
const NODE_NETWORK_BYTES_PER_SECOND = 125_000_000;

function addNode(program: Command): void {
  const node = program.command('node');
  roleOptions(node)
    .description('run a node, which hosts shards; or see and order nodes by one of the verbs below')
    .option('--app <file>', 'module that exports the app as `app` or as default')
    .option('--cell <name>', 'where logs of shards claimed here begin; any cell of its region where absent')
    .option('--cpu <cores>', 'capacity in core-seconds a second', positive, NODE_CPU_DEFAULT)
    .option('--memory-mb <count>', 'capacity in megabytes', positive, NODE_MEMORY_MB_DEFAULT)
    .option('--speed <factor>', 'CPU of the reference machine in one of this one', positive, 1)
    .option(
      '--usd-per-hour <price>',
      'what it costs; the published price of its region where absent',
      positive,
    )
    .option('--trusted-proxy <cidr...>', 'proxies whose origin headers count')
    .action(async (options: NodeFlags) => {
      needed('node', options, 'name', 'region', 'control', 'app');
      const stores = await chooseStores(options);
      await runRole('node', options, async ({ io, name, region, processId, token, topology }) => {
        const { runNodeProcess } = await import('../node/process.ts');
        const running = await runNodeProcess({
          io,
          config: {
            name,
            processId,
            region,
            zone: options.zone ?? `${region}a`,
            address: options.listen,
            httpAddress: options.http ?? '',
            homeCell: options.cell,
            capacity: {
              cpu: options.cpu,
              memoryBytes: options.memoryMb * 1_000_000,
              networkBytesPerSecond: NODE_NETWORK_BYTES_PER_SECOND,
            },
            usdPerHour: options.usdPerHour ?? AWS_THREE_REGIONS.nodeUsdPerHour[region] ?? 0,
            token,
            speed: options.speed,
          },
          appFile: options.app!,
          ...stores,
          topology,
          trustedProxies: options.trustedProxy,
        });
        return { address: running.address, httpAddress: running.httpAddress, close: () => running.drain() };
      });
    });
  addNodeVerbs(node);
}

interface NodeFlags extends RoleOptions {
  app?: string;
  cell?: string;
  cpu: number;
  memoryMb: number;
  speed: number;
  usdPerHour?: number;
  trustedProxy?: string[];
}

function addGateway(program: Command): void {
  roleOptions(program.command('gateway'))
    .description('run a gateway: HTTP in, to the right node')
    .option('--trusted-proxy <cidr...>', 'proxies whose origin headers count')
    .option(
      '--request-budget-s <seconds>',
      'how long a request may outwait a failure before it is answered 503 (10)',
      wholeNumber(1, 600),
    )
    .action(async (options: RoleOptions & { trustedProxy?: string[]; requestBudgetS?: number }) => {
      needed('gateway', options, 'name', 'region', 'control', 'http', 'data');
      const stores = await chooseStores(options);
      await runRole('gateway', options, async ({ io, name, region, token }) => {
        const { runGatewayProcess } = await import('../gateway/process.ts');
        const running = await runGatewayProcess({
          io,
          name,
          region,
          token,
          controlAddress: stores.controlAddress,
          etcd: stores.etcd,
          httpAddress: options.http!,
          dataDirectory: options.data!,
          topology: AWS_THREE_REGIONS,
          trustedProxies: options.trustedProxy,
          requestBudgetMs: options.requestBudgetS && options.requestBudgetS * 1_000,
        });
        return {
          httpAddress: running.httpAddress,
          close: async () => {
            await running.drain();
            await running.close();
          },
        };
      });
    });
}
