/**
 * Emptying nodes: an operator's or a node's own order, so it is followed in every mode and under every policy.
 *
 * Which shards of draining nodes go where, at most `limit` at once including those under way. Shards already planned or
 * in flight are left alone. Targets: the emptied node's region first, then the nearest; allowed regions and open nodes
 * only; spread by rendezvous. Pure.
 */
import { cellFor } from '../model/cells.ts';
import type { CellId, ProcessId, ShardId } from '../model/ids.ts';
import type { Move } from '../model/loop.ts';
import type { NodeRecord } from '../model/records.ts';
import type { Topology } from '../model/topology.ts';
import type { ClusterView } from './cluster-view.ts';
import { spread } from './repair.ts';

export function drainMoves(options: {
  view: Pick<ClusterView, 'nodes' | 'cordons' | 'shardsOf' | 'assignment' | 'cells'>;
  busy: ReadonlySet<ShardId>;
  stateBytes: (shard: ShardId) => number;
  limit: number;
  topology: Topology;
}): { moves: Move[]; stuck: Record<ShardId, string> } {
  const { view, busy } = options;
  const moves: Move[] = [];
  const stuck: Record<ShardId, string> = {};
  const nodes = [...view.nodes.values()];
  const cordoned = new Set(view.cordons.keys());
  for (const node of nodes) {
    if (node.state !== 'draining') continue;
    const waiting = [];
    for (const shard of view.shardsOf(node.processId)) {
      if (moves.length + waiting.length >= options.limit) break;
      const assignment = view.assignment(shard);
      if (assignment && !busy.has(shard)) waiting.push(assignment);
    }
    const { batches, left } = spread(waiting, {
      home: node.region,
      nodes,
      cordoned,
      topology: options.topology,
    });
    Object.assign(stuck, left);
    for (const [target, shards] of batches) {
      const targetNode = view.nodes.get(target)!;
      for (const shard of shards)
        moves.push(moveFor(shard, node, targetNode, options, 'drain', `${node.name} is being drained`));
    }
  }
  return { moves, stuck };
}

/** A move that somebody ordered: its reason has no gain, because nobody weighed it. */
export function moveFor(
  shard: ShardId,
  source: NodeRecord,
  target: NodeRecord,
  options: {
    view: Pick<ClusterView, 'assignment' | 'cells'>;
    stateBytes: (shard: ShardId) => number;
    /** Where its log is to go; where its region says, if absent. */
    cell?: CellId;
  },
  priority: Move['priority'],
  text: string,
): Move {
  const assignment = options.view.assignment(shard)!;
  return {
    shard,
    source: source.processId,
    target: target.processId,
    cell: options.cell ?? cellFor(shard, assignment.cell, target.region, options.view.cells),
    epoch: assignment.epoch,
    reason: { text, gainUsdPerHour: 0, costUsdPerHour: 0, latencyMsNow: 0, latencyMsThen: 0 },
    priority,
    bytes: options.stateBytes(shard),
  };
}

/** Shards left on draining nodes, for the API. */
export function drainingShards(view: Pick<ClusterView, 'nodes' | 'shardsOf'>): Map<ProcessId, number> {
  const left = new Map<ProcessId, number>();
  for (const node of view.nodes.values())
    if (node.state === 'draining') left.set(node.processId, view.shardsOf(node.processId).size);
  return left;
}
