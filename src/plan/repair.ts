/**
 * Emergency path: shards whose node is gone, and shards that must leave. Keeps every hard constraint, asks no price, and
 * spreads: a dead node's shards go to the healthy nodes of allowed regions, near their users first, by load.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { PlacementInput } from '../placement/input.ts';
import { Snapshot } from '../placement/snapshot.ts';

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
  /** Shards that no node may take, with the constraint that stands in the way. */
  stranded: { shard: ShardId; because: string }[];
  reason: string;
}

/**
 * Where the shards of nodes that are not in `input.nodes` should be opened. These are hints (`shard.activate`): the
 * takeover itself is each node's compare-and-swap (OWNERSHIP rule 1). The log stays in its cell.
 */
export function repairLost(input: PlacementInput): RepairResult {
  const snapshot = new Snapshot(input);
  const lost: number[] = [];
  for (let s = 0; s < snapshot.shards.length; s++) if (snapshot.start[s]! < 0) lost.push(s);
  // Busiest first: they have most users waiting, and the small ones fill the gaps.
  lost.sort((a, b) => snapshot.rate(b) - snapshot.rate(a) || a - b);
  const repairs: Repair[] = [];
  const stranded: RepairResult['stranded'] = [];
  for (const s of lost) {
    const shard = snapshot.shards[s]!;
    let best = -1;
    let bestDelta = Number.POSITIVE_INFINITY;
    let fewest = Number.POSITIVE_INFINITY;
    const refusals = new Set<string>();
    for (let n = 0; n < snapshot.nodes.length; n++) {
      const refused = snapshot.refusal(s, n);
      if (refused !== undefined) {
        refusals.add(refused.name);
        continue;
      }
      const delta = snapshot.deltaUsd(s, n);
      // Shards without load cost the same everywhere: they are spread by number.
      const close = Math.abs(delta - bestDelta) <= 1e-12;
      if (delta < bestDelta - 1e-12 || (close && snapshot.count(n) < fewest)) {
        best = n;
        bestDelta = delta;
        fewest = snapshot.count(n);
      }
    }
    if (best < 0) {
      stranded.push({ shard: shard.shard, because: [...refusals].join(', ') || 'no node is left' });
      continue;
    }
    snapshot.relocate(s, best);
    const node = snapshot.nodes[best]!;
    repairs.push({
      shard: shard.shard,
      lost: shard.primary,
      target: node.processId,
      cell: shard.cell,
      reason: `${shard.primary} is gone; ${node.name} in ${node.region} may take it and costs its users least (${snapshot.latencyMs(s, best).toFixed(0)} ms)`,
    });
  }
  const stuck = stranded.length > 0 ? `; ${stranded.length} have nowhere to go` : '';
  return {
    repairs,
    stranded,
    reason:
      lost.length === 0
        ? 'no shard has lost its node'
        : `${repairs.length} of ${lost.length} shards that lost their node have a new one${stuck}`,
  };
}
