/**
 * The placer: current placement and forecasts in, target out.
 *
 * 1. Price: what each shard costs in each region over the forecast steps, what each node's load costs (snapshot.ts).
 * 2. Greedy: shards that must leave, then those that gain, best first (greedy.ts).
 * 3. Local search: relieve what would overload, even out neighbours, reconsider what was moved (local-search.ts).
 * 4. Report: every relocation with gain, cost and runner-up, and a sentence for the tick.
 *
 * Starts from the current placement, spends evaluations and never time, draws no random numbers: the same input gives the
 * same answer, and an input whose best placement is the current one gives no relocation.
 */
import type { ShardId } from '../model/ids.ts';
import { DEFAULT_SEARCH } from './defaults.ts';
import { explainShard, usd } from './explain.ts';
import { GAIN_USD_MIN, placeGreedily, type SearchState } from './greedy.ts';
import type { PlacementInput, PlacementResult, Placer, Relocation } from './input.ts';
import { searchLocally } from './local-search.ts';
import { Snapshot } from './snapshot.ts';

/** The placer used by every policy that moves. */
export function createPlacer(): Placer {
  return { place, explain: (input, shard) => explainShard(input, shard) };
}

/** The placer of the `static` policy: a shard stays where it was first touched. */
export function stillPlacer(): Placer {
  return {
    place(input) {
      const cost = new Snapshot(input).cost();
      return {
        target: new Map(input.shards.map((shard) => [shard.shard, shard.inFlightTo ?? shard.primary])),
        relocations: [],
        cost: { now: cost, target: cost },
        reason: 'the policy is static: shards stay where they were first touched',
        blocked: {},
      };
    },
    explain: (input, shard) => explainShard(input, shard),
  };
}

export function place(input: PlacementInput): PlacementResult {
  const snapshot = new Snapshot(input);
  const budget = { ...DEFAULT_SEARCH, ...input.search };
  const state: SearchState = { evaluationsLeft: budget.evaluationsMax, blocked: {} };
  const now = snapshot.cost();
  const forced = snapshot.shards.map((_, s) => snapshot.mustLeave(s));
  placeGreedily(snapshot, state);
  searchLocally(snapshot, state, budget.passesMax);
  const relocations: Relocation[] = [];
  const target = new Map<ShardId, string>();
  for (let s = 0; s < snapshot.shards.length; s++) {
    const shard = snapshot.shards[s]!;
    const to = snapshot.place[s]!;
    target.set(shard.shard, to >= 0 ? snapshot.nodes[to]!.processId : shard.primary);
    if (to < 0 || to === snapshot.start[s]) continue;
    const relocation = describe(snapshot, s, forced[s]?.description);
    if (relocation.kind === 'must' || relocation.gainUsd > relocation.costUsd + GAIN_USD_MIN)
      relocations.push(relocation);
    else target.set(shard.shard, shard.primary);
  }
  relocations.sort(
    (a, b) =>
      (a.kind === b.kind ? 0 : a.kind === 'must' ? -1 : 1) ||
      b.gainUsd - b.costUsd - (a.gainUsd - a.costUsd) ||
      (a.shard < b.shard ? -1 : 1),
  );
  const after = snapshot.cost();
  return {
    target,
    relocations,
    cost: { now, target: after },
    reason: reasonFor(relocations.length, now.total, after.total, state),
    blocked: state.blocked,
  };
}

function describe(snapshot: Snapshot, s: number, mustBecause: string | undefined): Relocation {
  const shard = snapshot.shards[s]!;
  const from = snapshot.start[s]!;
  const to = snapshot.place[s]!;
  const costUsd = snapshot.moveUsd(s, to);
  // Seen from the target: what going back would lose is what going there gains, with all other moves made.
  const gainUsd = from < 0 ? 0 : snapshot.deltaUsd(s, from) + costUsd;
  const perHour = 3600 / snapshot.windowS;
  const latencyMsNow = snapshot.latencyMs(s, from);
  const latencyMsThen = snapshot.latencyMs(s, to);
  let runnerUp: { target: string; gainUsdPerHour: number } | undefined;
  for (let n = 0; n < snapshot.nodes.length; n++) {
    if (n === to || n === from) continue;
    const gain = (gainUsd - snapshot.deltaUsd(s, n)) * perHour;
    if (runnerUp === undefined || gain > runnerUp.gainUsdPerHour)
      runnerUp = { target: snapshot.nodes[n]!.processId, gainUsdPerHour: gain };
  }
  const target = snapshot.nodes[to]!;
  const source = snapshot.nodes[from];
  let text: string;
  if (mustBecause !== undefined) text = `a shard ${mustBecause}; ${target.name} is the best that may take it`;
  else if (source === undefined) text = `its node is gone; ${target.name} takes it`;
  else if (source.region === target.region)
    text = `${source.name} will be busier than ${target.name} in the same region; evening out saves ${usd(gainUsd)}, moving costs ${usd(costUsd)}`;
  else
    text = `its users will wait ${latencyMsThen.toFixed(0)} ms instead of ${latencyMsNow.toFixed(0)} ms: ${usd(gainUsd)} over ${Math.round(snapshot.windowS)} s, moving costs ${usd(costUsd)}`;
  return {
    shard: shard.shard,
    source: shard.primary,
    target: target.processId,
    cell: snapshot.input.cells[target.region] ?? shard.cell,
    gainUsd,
    costUsd,
    bytes: shard.stateBytes,
    kind: mustBecause !== undefined || source === undefined ? 'must' : 'improve',
    reason: {
      text,
      gainUsdPerHour: gainUsd * perHour,
      costUsdPerHour: costUsd * perHour,
      latencyMsNow,
      latencyMsThen,
      runnerUp,
      ...(source === undefined ? {} : { promise: snapshot.promise(s, from, to) }),
    },
  };
}

function reasonFor(count: number, now: number, after: number, state: SearchState): string {
  const blocked = Object.entries(state.blocked)
    .map(([name, times]) => `${name} ${times}`)
    .join(', ');
  const why = blocked === '' ? '' : `; refused by constraints: ${blocked}`;
  if (count === 0) return `every shard is where it should be, at $${now.toFixed(2)} an hour${why}`;
  return `${count} shards would be better elsewhere: $${now.toFixed(2)} an hour now, $${after.toFixed(2)} then${why}`;
}
