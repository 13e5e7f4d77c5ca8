/** A controller as a process: its stores, its worker, its wire listener, its admin API. */
import { join } from 'node:path';
import { serveApi } from '../api/server.ts';
import type { Io, Listener } from '../io/io.ts';
import { MigrationExecutor, type MigrationLimits } from '../migration/driver.ts';
import type { SettingsChange } from '../migration/settings.ts';
import type { ControllerMode, PolicyName } from '../model/loop.ts';
import { Peers } from '../node/peers.ts';
import { connectControl } from '../store/connect.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import { RpcClient, type RpcHandlers, serveRpc } from '../wire/rpc.ts';
import { CONTROLLER_DEFAULTS, type ControllerConfig } from './config.ts';
import { Controller } from './controller.ts';
import { Operations } from './operations.ts';

import { startWorkerEngine } from './worker-engine.ts';

export interface ControllerProcessOptions {
  io: Io;
  name: string;
  region: string;
  /** Unique per start. */
  processId: string;
  /** Shared by all processes of the cluster. */
  token: string;
  controlAddress: string;
  /** Where that is an etcd. */
  etcd?: EtcdCredentials;
  /** Wire listener, for standby controllers; port 0 picks one. */
  listen: string;
  /** Admin API; beyond loopback it needs `apiToken`. */
  apiAddress: string;
  apiToken?: string;
  /** Of the package. */
  version: string;
  policy?: PolicyName;
  mode?: ControllerMode;
  stepMs?: number;
  seed?: string;
  leadS?: number;
  learnS?: number;
  halfLifeS?: number;
  oracleFile?: string;
  network?: boolean;
  modelFile?: string;
  /** Core-seconds that each end of a move spends on a gigabyte; absent: as measured. */
  moveCpuSecondsPerGb?: number;
  /** Changes to pace, gates and time-outs of every migration. */
  migrationSettings?: SettingsChange;
  migrationLimits?: Partial<MigrationLimits>;
  /** Where the loop's state is kept over a restart; absent: nowhere. */
  dataDirectory?: string;
}

export interface ControllerProcess {
  readonly controller: Controller;
  readonly address: string;
  readonly httpAddress: string;
  /** Resigns, so that another takes over at once, and closes. */
  close(): Promise<void>;
}

/**
 * Starts a controller. The API answers at once; `/readyz` is 503 until the cluster is known.
 *
 * @throws ProblemError `unauthorized` where the API would be open to the world.
 */
export async function runControllerProcess(options: ControllerProcessOptions): Promise<ControllerProcess> {
  const { io, token, processId } = options;
  const control = connectControl(io, options.controlAddress, {
    token,
    identity: processId,
    etcd: options.etcd,
  });
  const peers = new Peers({ io, token, identity: processId });
  const handlers: RpcHandlers = {};
  const wire = await serveRpc({ network: io.network, address: options.listen, token, handlers });
  const stepMs = options.stepMs ?? CONTROLLER_DEFAULTS.stepMs;
  let controller: Controller | undefined;
  let api: Listener | undefined;
  let closing = false;
  const clients = new Map<string, RpcClient>();
  try {
    const config: ControllerConfig = {
      ...CONTROLLER_DEFAULTS,
      ...given({
        policy: options.policy,
        mode: options.mode,
        seed: options.seed,
        leadS: options.leadS,
        learnS: options.learnS,
        halfLifeS: options.halfLifeS,
        oracleFile: options.oracleFile,
        network: options.network,
        modelFile: options.modelFile,
        moveCpuSecondsPerGb: options.moveCpuSecondsPerGb,
        copiesGiveWay: options.migrationSettings?.giveWay,
      }),
      stepMs,
      sampleTimeoutMs: Math.max(100, Math.min(CONTROLLER_DEFAULTS.sampleTimeoutMs, stepMs * 0.8)),
      processId,
      name: options.name,
      address: wire.address,
      // Known once the API listens; leadership is sought only after that.
      httpAddress: options.apiAddress,
      stateFile:
        options.dataDirectory === undefined ? undefined : join(options.dataDirectory, `${options.name}.loop`),
    };
    const engine = await startWorkerEngine(config, io.log);
    controller = new Controller({
      io,
      config,
      control,
      engine,
      peer: (address) => peers.peer(address),
      makeExecutor: ({ nodeRecord, onUpdate }) =>
        new MigrationExecutor({
          io,
          control,
          peer: (address) => peers.peer(address),
          nodeRecord,
          onUpdate,
          settings: options.migrationSettings,
          limits: options.migrationLimits,
        }),
      controllerClient: (address) => {
        let client = clients.get(address);
        if (!client) {
          for (const old of clients.values()) old.close();
          clients.clear();
          client = new RpcClient({
            network: io.network,
            clock: io.clock,
            address,
            token,
            identity: processId,
          });
          clients.set(address, client);
        }
        return client;
      },
    });
    handlers.streams = controller.wireStreams;
    api = await serveApi({
      operations: new Operations(controller),
      address: options.apiAddress,
      token: options.apiToken,
      version: options.version,
      ready: () => !closing,
    });
    config.httpAddress = api.address;
    await controller.start();
  } catch (error) {
    await api?.close();
    await controller?.stop();
    await wire.close();
    control.close();
    throw error;
  }
  io.log.info({ api: api.address, policy: options.policy }, 'the controller serves');
  const running = controller;
  const listening = api;
  return {
    controller: running,
    address: wire.address,
    httpAddress: listening.address,
    async close() {
      closing = true;
      await running.stop();
      await listening.close();
      await wire.close();
      for (const client of clients.values()) client.close();
      peers.close();
      control.close();
    },
  };
}

/** Without the members that are undefined: those must not hide a default. */
function given<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
