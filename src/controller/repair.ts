/**
 * Emergency repair: the shards of a dead node are opened elsewhere at once, without waiting for a tick or a request.
 *
 * A hint, no more: the node that is asked claims by compare-and-swap and only while the dead process's node key is
 * absent (OWNERSHIP rule 1), and a request that comes first makes its node claim by itself. Hard constraints hold:
 * allowed regions, build version, quarantine is no obstacle (a quarantined shard still answers queries), and only nodes
 * that take new shards. Order of preference: a standby (it takes over by itself, this is for when it could not), the node that
 * placement chose (it knows loads, so it keeps capacity as well), the dead node's region (there is the shard's cell), then the
 * others.
 */
import { type Clock, type Log, sleep } from '../io/io.ts';
import { type ProcessId, parseShardId, type Region, rendezvous, type ShardId } from '../model/ids.ts';
import type { Assignment, NodeRecord } from '../model/records.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { NodePeer } from '../node/participant.ts';

/** Shards a call: small enough that one slow opening does not hold back thousands. */
export const REPAIR_BATCH_SHARDS = 64;
/** Calls under way to one node. */
export const REPAIR_CALLS_PER_NODE = 8;
const REPAIR_CALL_TIMEOUT_MS = 5_000;
const REPAIR_ATTEMPTS_MAX = 3;
const REPAIR_RETRY_MS = 200;

export interface RepairReport {
  dead: ProcessId;
  shards: number;
  activated: number;
  /** Shards no node may take, and those refused to the end, with the reason. */
  left: Record<ShardId, string>;
  tookMs: number;
}

/** Which node opens which shard. Pure: the same cluster gives the same answer to two controllers. */
export function spread(
  shards: readonly Assignment[],
  options: {
    home: Region;
    nodes: readonly NodeRecord[];
    cordoned: ReadonlySet<string>;
    topology: Topology;
    /** What placement chose, where it was asked. */
    chosen?: Readonly<Record<ShardId, ProcessId>>;
  },
): { batches: Map<ProcessId, ShardId[]>; left: Record<ShardId, string> } {
  const { home, topology } = options;
  const open = options.nodes.filter((node) => node.state === 'ready' && !options.cordoned.has(node.name));
  const regionsByDistance = [...new Set(open.map((node) => node.region))].sort(
    (a, b) => rttMs(topology, home, a) - rttMs(topology, home, b) || (a < b ? -1 : 1),
  );
  const batches = new Map<ProcessId, ShardId[]>();
  const left: Record<ShardId, string> = {};
  for (const { shard, standbys } of shards) {
    const { service } = parseShardId(shard);
    const hosts = ({ services, region }: NodeRecord) => {
      const manifest = services[service];
      return (
        manifest !== undefined &&
        (manifest.allowedRegions === undefined || manifest.allowedRegions.includes(region))
      );
    };
    let target =
      standbys
        .map((process) => open.find((node) => node.processId === process))
        .find((node) => node !== undefined) ??
      open.find((node) => node.processId === options.chosen?.[shard] && hosts(node));
    for (const region of target === undefined ? regionsByDistance : []) {
      const able = open.filter((node) => node.region === region && hosts(node));
      target = rendezvous(shard, able, (node) => node.name);
      if (target) break;
    }
    if (!target) {
      left[shard] = 'no open node hosts its service in a region it may live in';
      continue;
    }
    const batch = batches.get(target.processId);
    if (batch) batch.push(shard);
    else batches.set(target.processId, [shard]);
  }
  return { batches, left };
}

export interface RepairOptions {
  dead: ProcessId;
  home: Region;
  clock: Clock;
  log: Log;
  topology: Topology;
  peer: (address: string) => NodePeer;
  /** Those still assigned to the dead process: asked again before every attempt. */
  orphans: () => Assignment[];
  nodes: () => NodeRecord[];
  cordoned: () => ReadonlySet<string>;
  /** Where placement would open them: asked once, and not waited for long. */
  chosen?: () => Promise<Readonly<Record<ShardId, ProcessId>> | undefined>;
  /** Asked before every call: a deposed leader stops. */
  mayAct: () => boolean;
}

export async function repair(options: RepairOptions): Promise<RepairReport> {
  const startedMs = options.clock.monotonicMs();
  const report: RepairReport = {
    dead: options.dead,
    shards: options.orphans().length,
    activated: 0,
    left: {},
    tookMs: 0,
  };
  const chosen = report.shards > 0 ? await options.chosen?.() : undefined;
  for (let attempt = 1; attempt <= REPAIR_ATTEMPTS_MAX && options.mayAct(); attempt++) {
    const orphans = options.orphans();
    if (orphans.length === 0) {
      report.left = {};
      break;
    }
    const { batches, left } = spread(orphans, {
      home: options.home,
      nodes: options.nodes(),
      cordoned: options.cordoned(),
      topology: options.topology,
      // A second attempt goes where it can: the first choice may be what refused.
      chosen: attempt === 1 ? chosen : undefined,
    });
    report.left = left;
    const believed = new Map(orphans.map((assignment) => [assignment.shard, assignment]));
    const addressOf = new Map(options.nodes().map((node) => [node.processId, node.address]));
    await Promise.all(
      [...batches].map(([target, shards]) =>
        activateOn(addressOf.get(target), shards, believed, options, report),
      ),
    );
    if (Object.keys(report.left).length === 0) break;
    await sleep(options.clock, REPAIR_RETRY_MS * attempt);
  }
  report.tookMs = options.clock.monotonicMs() - startedMs;
  return report;
}

async function activateOn(
  address: string | undefined,
  shards: ShardId[],
  believed: ReadonlyMap<ShardId, Assignment>,
  options: RepairOptions,
  report: RepairReport,
): Promise<void> {
  if (address === undefined) return;
  let next = 0;
  const lane = async () => {
    while (next < shards.length && options.mayAct()) {
      const batch = shards.slice(next, next + REPAIR_BATCH_SHARDS);
      next += batch.length;
      try {
        const { activated, refused } = await options
          .peer(address)
          .call(
            'shard.activate',
            { shards: batch, sawDead: options.dead, believed: batch.map((shard) => believed.get(shard)!) },
            { timeoutMs: REPAIR_CALL_TIMEOUT_MS },
          );
        report.activated += activated;
        Object.assign(report.left, refused);
      } catch (error) {
        // Its outcome is unknown; the next attempt looks at who is still assigned to the dead process.
        for (const shard of batch) report.left[shard] = String(error);
      }
    }
  };
  await Promise.all(Array.from({ length: REPAIR_CALLS_PER_NODE }, lane));
}
