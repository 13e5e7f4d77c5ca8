/**
 * The supervisor of a local cluster as a process of its own, so that it can be killed like any other. Its parent
 * speaks to it over the IPC channel (`remote-cluster.ts`); it ends with its parent, and the cluster with it.
 */
import { type LocalCluster, type LocalClusterOptions, startLocalCluster } from './local-cluster.ts';
import { exitWithParent } from './parent-watch.ts';
import type { SupervisedProcess, SupervisorEvent } from './supervisor.ts';

/** What the parent asks; the first message is `start`. */
export type ClusterRequest =
  | { id: number; method: 'start'; options: Omit<LocalClusterOptions, 'onEvent'> }
  | { id: number; method: 'processes' | 'stop' | 'killAll' }
  | { id: number; method: 'kill'; name: string; signal: NodeJS.Signals; restart: boolean }
  | { id: number; method: 'restart'; name: string };

/** The fields of a {@link LocalCluster} that are data. */
export type ClusterFacts = Pick<
  LocalCluster,
  'regions' | 'gateways' | 'nodes' | 'api' | 'control' | 'token' | 'dataDirectory'
>;

export type ClusterMessage =
  | { id: number; result?: ClusterFacts | SupervisedProcess[] }
  | { id: number; error: string }
  | { event: SupervisorEvent };

exitWithParent();

let cluster: LocalCluster | undefined;

async function perform(request: ClusterRequest): Promise<ClusterFacts | SupervisedProcess[] | undefined> {
  if (request.method === 'start') {
    cluster = await startLocalCluster({ ...request.options, onEvent: (event) => send({ event }) });
    const { regions, gateways, nodes, api, control, token, dataDirectory } = cluster;
    return { regions, gateways, nodes, api, control, token, dataDirectory };
  }
  if (!cluster) throw new Error('the cluster is not started');
  switch (request.method) {
    case 'processes':
      return cluster.processes();
    case 'kill':
      await cluster.kill(request.name, request.signal, { restart: request.restart });
      return undefined;
    case 'restart':
      await cluster.restart(request.name);
      return undefined;
    case 'stop':
      await cluster.stop();
      return undefined;
    case 'killAll':
      await cluster.killAll();
      return undefined;
  }
}

function send(message: ClusterMessage): void {
  process.send?.(message);
}

process.on('message', (request: ClusterRequest) => {
  const ends = request.method === 'stop' || request.method === 'killAll';
  perform(request).then(
    (result) => {
      send({ id: request.id, result });
      if (ends) process.disconnect?.();
    },
    (error: unknown) => {
      send({ id: request.id, error: error instanceof Error ? error.message : String(error) });
    },
  );
});
// The parent decides when the cluster ends; a Ctrl-C in its terminal does not.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {
  const stopped = cluster ? cluster.stop() : Promise.resolve();
  void stopped.finally(() => process.exit(0));
});
