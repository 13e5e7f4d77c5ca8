/**
 * Why a shard is where it is, what moving it would gain and cost, and what is foreseen: in plain words, from facts that
 * are returned beside them. Pure.
 */
import type { ProcessId, Region, ShardId } from '../model/ids.ts';
import type { Decision, Move } from '../model/loop.ts';
import type { Assignment, NodeRecord } from '../model/records.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import { latencyText, type MigrationView } from './executor.ts';
import type { Alternative, ShardInsight } from './loop-engine.ts';
import type { ShardView } from './operations.ts';

export interface ShardExplanation {
  shard: ShardId;
  node: string;
  region?: Region;
  /** Why it is there. */
  because: string[];
  /** What moving it would gain and cost. */
  moving: string[];
  /** What is foreseen. */
  foreseen: string[];
  alternatives: (Alternative & { name: string })[];
  ratesByOrigin: Record<Region, number>;
  /** Mean round trip of its users to it as it is now, milliseconds; absent where it has no measured load. */
  userRttMs?: number;
}

export function explain(input: {
  shard: ShardView;
  assignment: Assignment;
  insight: ShardInsight | undefined;
  nodes: ReadonlyMap<ProcessId, NodeRecord>;
  decisions: readonly Decision[];
  migrations: readonly MigrationView[];
  pin: { untilMs: number } | undefined;
  nowMs: number;
  topology: Topology;
  policy: string;
}): ShardExplanation {
  const { shard, insight } = input;
  const nameOf = (id: ProcessId) => input.nodes.get(id)?.name ?? id;
  const rates = insight?.ratesByOrigin ?? {};
  const userRttMs = shard.region ? meanRtt(input.topology, rates, shard.region) : undefined;
  return {
    shard: shard.shard,
    node: shard.node,
    region: shard.region,
    because: because(input, nameOf, rates, userRttMs),
    moving: moving(input, nameOf),
    foreseen: foreseen(insight),
    alternatives: (insight?.alternatives ?? []).map((a) => ({ ...a, name: nameOf(a.node) })),
    ratesByOrigin: rates,
    userRttMs,
  };
}

function because(
  input: Parameters<typeof explain>[0],
  nameOf: (id: ProcessId) => string,
  rates: Record<Region, number>,
  userRttMs: number | undefined,
): string[] {
  const { shard, assignment } = input;
  const lines: string[] = [];
  const where = shard.region ? `${shard.node} in ${shard.region}` : shard.node;
  const last = input.migrations
    .filter((m) => m.shard === shard.shard && m.outcome === 'completed' && m.target === assignment.primary)
    .at(-1);
  if (shard.orphaned)
    lines.push(
      `Its process ${assignment.primary} is gone: its next request, or the repair under way, opens it on another node from its log.`,
    );
  else if (last)
    lines.push(
      `It is on ${where} because it was moved there from ${nameOf(last.source)} ${ago(input.nowMs - (last.endedAtMs ?? last.startedAtMs))}: ${last.reason}.`,
    );
  else if (assignment.epoch === 1)
    lines.push(`It is on ${where}, where its first request put it; it has not moved since.`);
  else
    lines.push(
      `It is on ${where} in its ${ordinal(assignment.epoch)} epoch: it changed its node before this controller led, or after a node died.`,
    );
  const judged = input.migrations
    .filter((m) => m.shard === shard.shard && m.outcome !== undefined && latencyText(m) !== undefined)
    .sort((a, b) => (a.endedAtMs ?? 0) - (b.endedAtMs ?? 0))
    .at(-1);
  if (judged !== undefined) {
    const how = judged.outcome === 'completed' ? '' : `, which was undone (${judged.detail ?? judged.step})`;
    lines.push(
      `After its last move, to ${nameOf(judged.target)}${how}, its users waited: ${latencyText(judged)}.`,
    );
  }
  const total = sum(Object.values(rates));
  if (total > 0) {
    const shares = Object.entries(rates)
      .sort((a, b) => b[1] - a[1])
      .filter(([, rate]) => rate / total >= 0.01)
      .map(([region, rate]) => `${Math.round((rate / total) * 100)} % ${region}`);
    lines.push(`Its users of late: ${shares.join(', ')}; ${total.toFixed(1)} requests/s.`);
    if (userRttMs !== undefined)
      lines.push(
        `Their round trip to it is ${userRttMs.toFixed(1)} ms on average by the published distances.`,
      );
  } else lines.push('It had no requests of late.');
  if (shard.quarantine?.quarantined)
    lines.push(
      `It is in quarantine: ${shard.quarantine.handler} was running when two nodes died. \`skein shard release ${shard.shard}\` ends that.`,
    );
  if (shard.migration)
    lines.push(
      `It is being moved to ${shard.migration.target} right now: ${shard.migration.step}, ${shard.migration.percent} %.`,
    );
  if (input.pin)
    lines.push(
      `It was moved by hand, so placement leaves it alone for ${Math.ceil((input.pin.untilMs - input.nowMs) / 1000)} s more.`,
    );
  return lines;
}

function moving(input: Parameters<typeof explain>[0], nameOf: (id: ProcessId) => string): string[] {
  const { insight } = input;
  const planned = lastMove(input.decisions, input.shard.shard);
  const lines: string[] = [];
  if (insight) lines.push(insight.summary);
  if (insight?.why !== undefined)
    lines.push(`By the solver's prices, averaged over what is foreseen: ${insight.why}.`);
  const prices = Object.entries(insight?.priceUsdPerHour ?? {}).filter(([, price]) => price > 0);
  if (insight?.priceUsdPerHour !== undefined)
    lines.push(
      prices.length === 0
        ? 'No region is short of room: its load costs nothing beside its own dollars anywhere.'
        : `What its load costs others, by region: ${prices.map(([region, price]) => `${region} ${usd(price)}/h`).join(', ')}.`,
    );
  if (planned)
    lines.push(
      `The last plan that named it: to ${nameOf(planned.target)}, ${planned.reason.text}; gain ${usd(planned.reason.gainUsdPerHour)}/h, cost ${usd(planned.reason.costUsdPerHour)}/h.`,
    );
  if (input.policy === 'static')
    lines.push('The policy is `static`: nothing is moved but by hand or by a drain.');
  const alternatives = [...(insight?.alternatives ?? [])].sort(
    (a, b) => b.gainUsdPerHour - b.costUsdPerHour - (a.gainUsdPerHour - a.costUsdPerHour),
  );
  for (const a of alternatives.slice(0, 3)) {
    const net = a.gainUsdPerHour - a.costUsdPerHour;
    const latency = `${a.latencyMsNow.toFixed(1)} -> ${a.latencyMsThen.toFixed(1)} ms`;
    const verdict =
      a.refusedBy.length > 0
        ? `not allowed by ${a.refusedBy.join(', ')}`
        : net > 0
          ? `worth ${usd(net)}/h`
          : `not worth it by ${usd(-net)}/h`;
    lines.push(
      `To ${nameOf(a.node)} (${a.region}): ${latency}, gain ${usd(a.gainUsdPerHour)}/h, cost ${usd(a.costUsdPerHour)}/h: ${verdict}.`,
    );
  }
  if (lines.length === 0) lines.push('Nothing is known yet of what a move would gain: no load was measured.');
  return lines;
}

function foreseen(insight: ShardInsight | undefined): string[] {
  const forecast = insight?.forecast;
  if (!forecast) return ['Nothing is foreseen: too little was measured.'];
  const lines: string[] = [];
  const [p50, p90, p99] = forecast.metrics.requests.max;
  const untilS = forecast.horizonsS.at(-1) ?? 0;
  lines.push(
    `Within ${seconds(untilS)}: at most ${p50.toFixed(1)} requests/s at even odds, ${p90.toFixed(1)} with 90 %, ${p99.toFixed(1)} with 99 %.`,
  );
  const at = forecast.horizonsS.length - 1;
  const origins = Object.entries(forecast.byOrigin)
    .map(([region, o]) => [region, (o.commands[at] ?? 0) + (o.queries[at] ?? 0)] as const)
    .sort((a, b) => b[1] - a[1]);
  const total = sum(origins.map(([, rate]) => rate));
  if (total > 0)
    lines.push(
      `Then from: ${origins
        .filter(([, rate]) => rate / total >= 0.01)
        .map(([region, rate]) => `${Math.round((rate / total) * 100)} % ${region}`)
        .join(', ')}.`,
    );
  const periods = insight.explanation?.periodsS ?? [];
  if (periods.length > 0) lines.push(`Its load repeats about every ${periods.map(seconds).join(', ')}.`);
  return lines;
}

function lastMove(decisions: readonly Decision[], shard: ShardId): Move | undefined {
  for (let i = decisions.length - 1; i >= 0; i--) {
    const move = decisions[i]!.plan?.moves.find((m) => m.shard === shard);
    if (move) return move;
  }
  return undefined;
}

function meanRtt(topology: Topology, rates: Record<Region, number>, home: Region): number | undefined {
  const total = sum(Object.values(rates));
  if (total <= 0) return undefined;
  return sum(Object.entries(rates).map(([region, rate]) => rate * rttMs(topology, region, home))) / total;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function usd(value: number): string {
  const digits = Math.abs(value) >= 0.01 || value === 0 ? 2 : 6;
  return `$${value.toFixed(digits)}`;
}

function seconds(value: number): string {
  return value >= 120 ? `${(value / 60).toFixed(1)} min` : `${Math.round(value * 10) / 10} s`;
}

function ago(ms: number): string {
  return `${seconds(ms / 1000)} ago`;
}

function ordinal(n: number): string {
  const tail = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${tail}`;
}
