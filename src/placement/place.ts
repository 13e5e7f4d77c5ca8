/**
 * The placer: current placement and forecasts in, target out.
 *
 * 1. Translate: the cluster, its forecasts and what is under way as the solver's problem (cluster-problem.ts).
 * 2. Solve: region prices, then a search from the current placement that keeps what need not move (solver/solve.ts).
 * 3. Sequence: the differences in an order of which every prefix is sound, each with its gain and cost (sequence.ts).
 * 4. Report: reasons with the runner-up, how far from the certified bound, what no placement can keep, and a sentence.
 *
 * Spends counts and never time, its draws are seeded: the same input gives the same answer, and an input whose best
 * placement is the current one gives no relocation.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { Infeasibility } from '../model/loop.ts';
import { ClusterProblem } from './cluster-problem.ts';
import { PLACE_CONSTRAINTS } from './constraints/place-constraints.ts';
import { nearness, usd } from './dollars.ts';
import { explainShard } from './explain.ts';
import { blockedBy, infeasibilities } from './infeasible.ts';
import type { Certificate, Cost, PlacementInput, PlacementResult, Placer, Relocation } from './input.ts';
import { queueFloorUsd } from './queue-floor.ts';
import { RunnerUps } from './runner-up.ts';
import { primariesOf, type Step, sequence } from './sequence.ts';
import { eligible } from './solver/eligible.ts';
import { costOf } from './solver/objective.ts';
import { type SolveResult, solve } from './solver/solve.ts';
import { timed } from './timing.ts';
import { upcomingMoves } from './upcoming.ts';

/** The placer used by every policy that moves. */
export function createPlacer(): Placer {
  return { place, explain: (input, shard) => explainShard(input, shard) };
}

/** The placer of the `static` policy: a shard stays where it was first touched. */
export function stillPlacer(): Placer {
  return {
    place(input) {
      const cost = costAt(new ClusterProblem(input));
      return {
        target: new Map(input.shards.map((shard) => [shard.shard, shard.inFlightTo ?? shard.primary])),
        relocations: [],
        cost: { now: cost, target: cost },
        infeasible: [],
        nodeSized: [],
        reason: 'the policy is static: shards stay where they were first touched',
        blocked: {},
      };
    },
    explain: (input, shard) => explainShard(input, shard),
  };
}

export function place(input: PlacementInput): PlacementResult {
  const cluster = new ClusterProblem(input);
  const { problem, shards, nodes } = cluster;
  const target = new Map<ShardId, ProcessId>();
  const now = costAt(cluster);
  if (shards.length === 0 || nodes.length === 0)
    return {
      target,
      relocations: [],
      cost: { now, target: now },
      infeasible: [],
      nodeSized: [],
      reason: reasonFor(0, now.total, now.total, undefined, {}, []),
      blocked: {},
    };
  const solved = solveCluster(cluster);
  const must = new Set<number>();
  for (let s = 0; s < shards.length; s++) if (mustLeave(cluster, s)) must.add(s);
  const { steps, state, stuck } = sequence(cluster, solved.place, must);
  const runnerUps = new RunnerUps(cluster, state);
  const { now: going, wait } = timed(cluster, steps);
  const relocations = going.map((step) => describe(cluster, step, runnerUps));
  const waiting = [...wait].map(([step, at]) =>
    later(cluster, describe(cluster, step, runnerUps), step.s, at),
  );
  shards.forEach((shard, s) => {
    const n = state.place[s * problem.width]!;
    target.set(shard.shard, n >= 0 ? nodes[n]!.processId : shard.primary);
  });
  const after = costAt(cluster, state.place);
  const certificate = certify(cluster, solved, state.place);
  const blocked = blockedBy(cluster, state);
  const cannot = infeasibilities(cluster, state, stuck);
  return {
    target,
    relocations,
    upcoming: [...waiting, ...upcomingMoves(cluster, state)],
    cost: { now, target: after },
    ...(certificate && { certificate }),
    ...cannot,
    reason: reasonFor(
      relocations.length,
      now.total,
      after.total,
      certificate,
      blocked,
      cannot.infeasible,
      waiting.length,
    ),
    blocked,
  };
}

/** Solves from where shards are; where nothing is placed yet, from nothing. */
export function solveCluster(cluster: ClusterProblem): SolveResult {
  return solve(cluster.problem, { seed: 0, budget: cluster.input.budget });
}

/** Whether where a shard is breaks a hard constraint that it may be moved for. */
function mustLeave({ problem }: ClusterProblem, s: number): boolean {
  const n = problem.start[s * problem.width]!;
  return n >= 0 && problem.frozen[s] === 0 && !eligible(problem, s, n, false);
}

/** Undefined where no bound was asked for. */
function certify(
  { problem }: ClusterProblem,
  solved: SolveResult,
  place: Int32Array,
): Certificate | undefined {
  if (!Number.isFinite(solved.lowerBound)) return undefined;
  const usdPerHour = costOf(problem, place).total;
  const lowerBoundUsdPerHour = solved.lowerBound + queueFloorUsd(problem);
  const gap = lowerBoundUsdPerHour > 0 ? usdPerHour / lowerBoundUsdPerHour - 1 : 0;
  return { lowerBoundUsdPerHour, gap: Math.max(0, gap) };
}

/** Dollars an hour without moves. */
function costAt({ problem }: ClusterProblem, place = primariesOf(problem.start, problem.width)): Cost {
  const { latency, egress, replication, nodes, overload } = costOf(problem, place);
  const sent = egress + replication;
  return { latency, egress: sent, nodes, overload, total: latency + sent + nodes + overload };
}

function describe(cluster: ClusterProblem, step: Step, runnerUps: RunnerUps): Relocation {
  const { s, from, to, must, gainUsd, costUsd } = step;
  const shard = cluster.shards[s]!;
  const target = cluster.nodes[to]!;
  const source = cluster.nodes[from];
  const perHour = 1 / cluster.windowHours;
  const latencyMsNow = cluster.latencyMs(s, from);
  const latencyMsThen = cluster.latencyMs(s, to);
  let text: string;
  const worth = `${usd(gainUsd)} over ${Math.round(cluster.windowS)} s, moving costs ${usd(costUsd)}`;
  if (source === undefined) text = `its node is gone; ${target.name} takes it`;
  else if (must) text = `a shard ${brokenBy(cluster, s, from)}; ${target.name} is the best that may take it`;
  else if (source.region === target.region)
    text = `${source.name} will be busier than ${target.name} in the same region; evening out saves ${worth}`;
  else if (latencyMsThen < latencyMsNow)
    text = `its users will wait ${latencyMsThen.toFixed(0)} ms instead of ${latencyMsNow.toFixed(0)} ms: ${worth}`;
  else if (gainUsd > costUsd)
    text = `${source.name} will be too busy: there its users wait ${latencyMsThen.toFixed(0)} ms instead of ${latencyMsNow.toFixed(0)} ms, and all together save ${worth}`;
  else
    text = `it makes room on ${source.name} for a shard that needs it more; its users will wait ${latencyMsThen.toFixed(0)} ms instead of ${latencyMsNow.toFixed(0)} ms`;
  return {
    shard: shard.shard,
    source: shard.primary,
    target: target.processId,
    cell: cluster.input.cells[target.region] ?? shard.cell,
    gainUsd,
    costUsd,
    bytes: shard.standbys?.includes(target.processId) ? 0 : shard.stateBytes,
    kind: must || source === undefined ? 'must' : 'improve',
    neededAtS: cluster.neededAtS(s, from, to),
    doneS: cluster.doneS(s),
    ...(step.after.length > 0 ? { after: step.after.map((maker) => cluster.shards[maker]!.shard) } : {}),
    reason: {
      text,
      gainUsdPerHour: gainUsd * perHour,
      costUsdPerHour: costUsd * perHour,
      latencyMsNow,
      latencyMsThen,
      runnerUp: runnerUps.of(step),
      ...(source === undefined ? {} : { promise: cluster.promise(s, from, to) }),
    },
  };
}

/** A move that is not due yet: it should be done when the step for which it is needed begins. */
function later(cluster: ClusterProblem, move: Relocation, s: number, steps: number): Relocation {
  let waitS = 0;
  const first = cluster.firstStep(s);
  for (let t = first; t < first + steps; t++) waitS += cluster.intervals[t]!;
  return { ...move, neededAtS: move.doneS + waitS, earliestAtS: 0 };
}

function brokenBy(cluster: ClusterProblem, s: number, n: number): string {
  const { problem } = cluster;
  return (
    PLACE_CONSTRAINTS.find((constraint) => !constraint.allows(problem, s, n, false))?.description ??
    'may not be where it is'
  );
}

function reasonFor(
  count: number,
  now: number,
  after: number,
  certificate: Certificate | undefined,
  blocked: Record<string, number>,
  infeasible: readonly Infeasibility[],
  waiting = 0,
): string {
  const named = Object.entries(blocked)
    .map(([name, times]) => `${name} ${times}`)
    .join(', ');
  const why = named === '' ? '' : `; refused by constraints: ${named}`;
  // The bound is of placements that keep everything: nothing is near it that does not.
  const cannot = infeasible.map(({ constraint, count: times }) => `${constraint} ${times}`).join(', ');
  const bound =
    cannot !== ''
      ? `; cannot be kept: ${cannot}`
      : certificate === undefined
        ? ''
        : `, ${nearness(certificate.gap)}`;
  const every = cannot === '' ? 'every shard' : 'every other shard';
  if (count === 0 && waiting > 0)
    return `${every} is where it should be for now, at $${now.toFixed(2)} an hour${bound}; ${waiting} will be better elsewhere later${why}`;
  if (count === 0) return `${every} is where it should be, at $${now.toFixed(2)} an hour${bound}${why}`;
  const shards = count === 1 ? '1 shard' : `${count} shards`;
  return `${shards} would be better elsewhere: $${now.toFixed(2)} an hour now, $${after.toFixed(2)} then${bound}${why}`;
}
