/**
 * Emergency path: shards whose node is gone. Keeps every hard constraint, capacity too, and asks for no move's price: a dead
 * node's shards go where their users and the others on the nodes pay least (a standby first: it is warm), the busiest first,
 * and everything else stays where it is (`solver/solve.ts`, `repair`).
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import { ClusterProblem } from '../placement/cluster-problem.ts';
import { infeasibilities } from '../placement/infeasible.ts';
import type { PlacementInput } from '../placement/input.ts';
import { repair } from '../placement/solver/missing.ts';
import { State } from '../placement/solver/state.ts';

export interface Repair {
  shard: ShardId;
  /** Where it was. */
  lost: ProcessId;
  target: ProcessId;
  cell: string;
  reason: string;
}

export interface RepairResult {
  repairs: Repair[];
  /** Shards that no node may take, with the constraint that stands in the way, and what would mend it. */
  stranded: { shard: ShardId; lost: ProcessId; because: string; remedy: string }[];
  reason: string;
}

/**
 * Where the shards of nodes that are not in `input.nodes` should be opened. These are hints (`shard.activate`): the
 * takeover itself is each node's compare-and-swap (OWNERSHIP rule 1). The log stays in its cell.
 */
export function repairLost(input: PlacementInput): RepairResult {
  const cluster = new ClusterProblem(input);
  const { problem, nodes, shards } = cluster;
  const lost: number[] = [];
  for (let s = 0; s < shards.length; s++) if (cluster.startOf(s) < 0) lost.push(s);
  if (lost.length === 0) return { repairs: [], stranded: [], reason: 'no shard has lost its node' };
  // Everything else stays. A quarantined shard still answers queries; what was on its way to a node that died goes elsewhere.
  problem.frozen.fill(1);
  for (const s of lost) problem.frozen[s] = 0;
  const { place, repaired } = repair(problem);
  const state = new State(problem, place);
  // The last ones placed are the calmest: where a node is beyond full, they are what it cannot hold.
  for (let i = repaired.length - 1; i >= 0; i--) {
    const n = place[repaired[i]! * problem.width]!;
    if (n >= 0 && state.isFull(n)) state.remove(repaired[i]!, 0);
  }
  const repairs: Repair[] = [];
  const stranded: RepairResult['stranded'] = [];
  for (const s of repaired) {
    const shard = shards[s]!;
    const n = state.place[s * problem.width]!;
    if (n < 0) {
      const [why] = infeasibilities(cluster, state, [s]).infeasible;
      stranded.push({
        shard: shard.shard,
        lost: shard.primary,
        because: why!.constraint,
        remedy: why!.remedy,
      });
      continue;
    }
    const node = nodes[n]!;
    const standby = shard.standbys?.includes(node.processId) ? ' and has a copy' : '';
    repairs.push({
      shard: shard.shard,
      lost: shard.primary,
      target: node.processId,
      cell: shard.cell,
      reason: `${shard.primary} is gone; ${node.name} in ${node.region} may take it${standby} (its users then wait ${cluster.latencyMs(s, n).toFixed(0)} ms)`,
    });
  }
  const stuck = stranded.length > 0 ? `; ${stranded.length} have nowhere to go` : '';
  return {
    repairs,
    stranded,
    reason: `${repairs.length} of ${lost.length} shards that lost their node have a new one${stuck}`,
  };
}
