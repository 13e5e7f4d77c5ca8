/** Why a shard is where it is, what each other node would give and cost, in numbers and in plain words. */
import type { ShardId } from '../model/ids.ts';
import type { PlacementInput, ShardPlacementExplanation } from './input.ts';
import { Snapshot } from './snapshot.ts';

export function explainShard(input: PlacementInput, shard: ShardId): ShardPlacementExplanation {
  const snapshot = new Snapshot(input);
  const s = snapshot.shards.findIndex((candidate) => candidate.shard === shard);
  if (s < 0)
    return {
      shard,
      current: '',
      text: `${shard} is not placed: it has never been used, or nothing is known of it yet.`,
      alternatives: [],
    };
  const start = snapshot.start[s]!;
  const known = snapshot.shards[s]!;
  const perHour = 3600 / snapshot.windowS;
  const alternatives: ShardPlacementExplanation['alternatives'] = [];
  snapshot.nodes.forEach((node, n) => {
    if (n === start) return;
    const refused = snapshot.refusal(s, n);
    const moveCostUsd = snapshot.moveUsd(s, n);
    alternatives.push({
      target: node.processId,
      region: node.region,
      allowed: refused === undefined,
      refusedBy: refused === undefined ? undefined : `${refused.name}: a shard ${refused.description}`,
      latencyMs: snapshot.latencyMs(s, n),
      // The move's own price is shown apart.
      gainUsdPerHour: (-snapshot.deltaUsd(s, n) + moveCostUsd) * perHour,
      moveCostUsd,
    });
  });
  alternatives.sort((a, b) => b.gainUsdPerHour - a.gainUsdPerHour || (a.target < b.target ? -1 : 1));
  return { shard, current: known.primary, text: textFor(snapshot, s, alternatives), alternatives };
}

function textFor(
  snapshot: Snapshot,
  s: number,
  alternatives: ShardPlacementExplanation['alternatives'],
): string {
  const shard = snapshot.shards[s]!;
  const start = snapshot.start[s]!;
  if (start < 0)
    return `${shard.shard} belongs to ${shard.primary}, which is gone; the next request or repair reopens it elsewhere.`;
  const node = snapshot.nodes[start]!;
  const now = snapshot.latencyMs(s, start);
  const where = `${shard.shard} is on ${node.name} in ${node.region}: its users (${originsOf(snapshot, s)}) wait ${now.toFixed(1)} ms for the way`;
  if (shard.inFlightTo !== undefined) return `${where}. It is moving to ${shard.inFlightTo} right now.`;
  if (shard.quarantined) return `${where}. It is quarantined and is not moved until an operator releases it.`;
  if (shard.pinnedTo !== undefined)
    return `${where}. An operator pinned it to ${shard.pinnedTo}; it is moved only when unpinned.`;
  const must = snapshot.mustLeave(s);
  const best = alternatives.find((alternative) => alternative.allowed);
  if (must !== undefined)
    return `${where}. It must leave, since a shard ${must.description}${best === undefined ? ', but no node may take it' : ''}.`;
  if (best === undefined) return `${where}. No other node may take it.`;
  const gain = (best.gainUsdPerHour * snapshot.windowS) / 3600;
  const numbers = `${best.target} would give ${best.latencyMs.toFixed(1)} ms and save ${usd(gain)} over the next ${Math.round(snapshot.windowS)} s; moving costs ${usd(best.moveCostUsd)}`;
  if (gain <= 0) return `${where}. No other node is better: ${numbers}.`;
  if (gain <= best.moveCostUsd)
    return `${where}. It stays, since the gain does not pay for the move: ${numbers}.`;
  return `${where}. It should move: ${numbers}.`;
}

function originsOf(snapshot: Snapshot, s: number): string {
  const shares: [string, number][] = [];
  let total = 0;
  for (const [origin, { commands, queries }] of Object.entries(snapshot.shards[s]!.forecast.byOrigin)) {
    const rate = (commands[0] ?? 0) + (queries[0] ?? 0);
    total += rate;
    shares.push([origin, rate]);
  }
  if (total <= 0) return 'none foreseen';
  return shares
    .sort((a, b) => b[1] - a[1])
    .filter(([, rate]) => rate >= 0.01 * total)
    .map(([origin, rate]) => `${Math.round((100 * rate) / total)} % ${origin}`)
    .join(', ');
}

/** Dollars with enough digits to compare tiny ones. */
export function usd(value: number): string {
  if (value === 0) return '$0';
  return Math.abs(value) >= 0.01 ? `$${value.toFixed(2)}` : `$${value.toExponential(1)}`;
}
