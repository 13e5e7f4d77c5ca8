/** Why a shard is where it is, what each other node would give and cost, in numbers and in plain words. */
import type { ShardId } from '../model/ids.ts';
import { ClusterProblem } from './cluster-problem.ts';
import { capacity } from './constraints/capacity.ts';
import { HOLD_CONSTRAINTS, PLACE_CONSTRAINTS } from './constraints/place-constraints.ts';
import { usd } from './dollars.ts';
import type { PlacementInput, ShardPlacementExplanation } from './input.ts';
import { solveCluster } from './place.ts';
import { primariesOf } from './sequence.ts';
import { primaryMoveUsd } from './solver/objective.ts';
import { State } from './solver/state.ts';
import { whyPlaced } from './solver/why.ts';

type Alternatives = ShardPlacementExplanation['alternatives'];

export function explainShard(input: PlacementInput, shard: ShardId): ShardPlacementExplanation {
  const s = input.shards.findIndex((candidate) => candidate.shard === shard);
  if (s < 0 || input.nodes.length === 0)
    return {
      shard,
      current: '',
      text: `${shard} is not placed: it has never been used, or nothing is known of it yet.`,
      alternatives: [],
    };
  const cluster = new ClusterProblem(input);
  const { dual, place } = solveCluster(cluster);
  const alternatives = alternativesOf(cluster, s);
  const why = whyPlaced(dual, cluster.names, place, s);
  return {
    shard,
    current: cluster.shards[s]!.primary,
    text: textFor(cluster, s, alternatives),
    why: why?.text,
    // As `whyPlaced` left them: the prices of this shard's load.
    priceUsdPerHour: Object.fromEntries(
      cluster.regions.map((region, r) => [region, why === undefined ? 0 : dual.primaryPrice(r)]),
    ),
    alternatives,
  };
}

/** Every other node, everything else as it is now; best first. */
function alternativesOf(cluster: ClusterProblem, s: number): Alternatives {
  const { problem } = cluster;
  const start = cluster.startOf(s);
  const state = new State(problem, primariesOf(problem.start, problem.width));
  if (start >= 0) state.remove(s, 0);
  const usdOn = (n: number) =>
    problem.value[s * problem.regionCount + problem.nodeRegion[n]!]! + state.addUsd(s, n, false);
  const now = start < 0 ? 0 : usdOn(start);
  const found: Alternatives = [];
  cluster.nodes.forEach((node, n) => {
    if (n === start) return;
    const gainUsdPerHour = now - usdOn(n);
    const refusedBy = refusal(cluster, s, n, state.fits);
    found.push({
      target: node.processId,
      region: node.region,
      allowed: refusedBy === undefined,
      refusedBy,
      latencyMs: cluster.latencyMs(s, n),
      gainUsdPerHour,
      moveCostUsd: primaryMoveUsd(problem, s, n),
    });
  });
  return found.sort((a, b) => b.gainUsdPerHour - a.gainUsdPerHour || (a.target < b.target ? -1 : 1));
}

function refusal(
  { problem, shards }: ClusterProblem,
  s: number,
  n: number,
  fits: boolean,
): string | undefined {
  const held = HOLD_CONSTRAINTS.find((constraint) => constraint.holds(shards[s]!));
  const refused =
    held ??
    PLACE_CONSTRAINTS.find((constraint) => !constraint.allows(problem, s, n, false)) ??
    (fits ? undefined : capacity);
  return refused === undefined ? undefined : `${refused.name}: a shard ${refused.description}`;
}

function textFor(cluster: ClusterProblem, s: number, alternatives: Alternatives): string {
  const { problem } = cluster;
  const shard = cluster.shards[s]!;
  const start = cluster.startOf(s);
  if (start < 0)
    return `${shard.shard} belongs to ${shard.primary}, which is gone; the next request or repair reopens it elsewhere.`;
  const node = cluster.nodes[start]!;
  const now = cluster.latencyMs(s, start);
  const where = `${shard.shard} is on ${node.name} in ${node.region}: its users (${originsOf(cluster, s)}) wait ${now.toFixed(1)} ms for the way`;
  if (shard.inFlightTo !== undefined) return `${where}. It is moving to ${shard.inFlightTo} right now.`;
  if (shard.quarantined) return `${where}. It is quarantined and is not moved until an operator releases it.`;
  if (shard.pinnedTo !== undefined && problem.pinnedTo[s]! === start)
    return `${where}. An operator pinned it to ${shard.pinnedTo}; it is moved only when unpinned.`;
  if (problem.saturating[s] === 1)
    return `${where}. It takes most of its node by itself, so it stays and its colder neighbours leave.`;
  const best = alternatives.find((alternative) => alternative.allowed);
  const broken = PLACE_CONSTRAINTS.find((constraint) => !constraint.allows(problem, s, start, false));
  if (broken !== undefined)
    return `${where}. It must leave, since a shard ${broken.description}${best === undefined ? ', but no node may take it' : ''}.`;
  if (best === undefined) return `${where}. No other node may take it.`;
  const gain = best.gainUsdPerHour * cluster.windowHours;
  const numbers = `${best.target} would give ${best.latencyMs.toFixed(1)} ms and save ${usd(gain)} over the next ${Math.round(cluster.windowS)} s; moving costs ${usd(best.moveCostUsd)}`;
  if (gain <= 0) return `${where}. No other node is better: ${numbers}.`;
  if (gain <= best.moveCostUsd)
    return `${where}. It stays, since the gain does not pay for the move: ${numbers}.`;
  return `${where}. It should move: ${numbers}.`;
}

function originsOf(cluster: ClusterProblem, s: number): string {
  const shares: [string, number][] = [];
  let total = 0;
  for (const [origin, { commands, queries }] of Object.entries(cluster.shards[s]!.forecast.byOrigin)) {
    const rate = (commands[0] ?? 0) + (queries[0] ?? 0);
    total += rate;
    shares.push([origin, rate]);
  }
  if (total <= 0) return 'none foreseen';
  return shares
    .sort((a, b) => b[1] - a[1])
    .filter(([, rate]) => rate >= 0.01 * total)
    .map(([origin, rate]) => `${Math.round((rate * 100) / total)} % ${origin}`)
    .join(', ');
}
