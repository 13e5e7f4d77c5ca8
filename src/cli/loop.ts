/** `skein status`, `skein plan show`, `skein decision list`, `skein mode`, `skein forecast show`: the loop, seen and set. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { latencyText, type MigrationView } from '../controller/executor.ts';
import { AHEAD_S_MAX } from '../controller/forecast-view.ts';
import type { ForecastView } from '../controller/loop-engine.ts';
import type { StatusView } from '../controller/operations.ts';
import { type Decision, FORECAST_METRICS, type ForecastMetric, type Move, type Plan } from '../model/loop.ts';
import { nearness } from '../placement/dollars.ts';
import { chart, interpolate } from './chart.ts';
import { client, jsonOption, output, shardPath } from './context.ts';
import { CliError, EXIT } from './errors.ts';
import { wholeNumber } from './numbers.ts';
import { amount, clockTime, duration, table, usdPerHour } from './table.ts';

const CHART_HEIGHT = 14;
const CHART_STEPS_MAX = 120;

export function addLoopCommands(program: Command): void {
  jsonOption(program.command('status'))
    .description('the cluster at a glance')
    .action(async (_options, command: Command) => {
      const found = await client(command).get<StatusView>('/v1/status');
      output(command, found, () => status(found));
    });
  const plan = program.command('plan').description('what the controller means to move');
  jsonOption(plan.command('show'))
    .description('the newest plan that holds moves, with its reasons')
    .action(async (_options, command: Command) => {
      const found = await client(command).get<{
        plan?: Plan;
        decision?: Decision;
        last?: Decision;
        migrations?: MigrationView[];
      }>('/v1/plan');
      output(command, found, () => planText(found));
    });
  const decision = program.command('decision').description('what the controller decided, tick by tick');
  jsonOption(decision.command('list'))
    .description('the last decisions, newest last; one a tick, also when nothing moved')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000), 20)
    .action(async (options: { limit: number }, command: Command) => {
      const found = await client(command).get<{ decisions: Decision[] }>('/v1/decisions', {
        limit: options.limit,
      });
      output(command, found, () =>
        table(
          ['TICK', 'TIME', 'MODE', 'OUTCOME', 'MOVES', 'REASON'],
          found.decisions.map((d) => [
            String(d.tick),
            clockTime(d.atMs),
            d.mode,
            d.outcome,
            String(d.plan?.moves.length ?? 0),
            d.reason,
          ]),
          'no decision yet',
        ),
      );
    });
  jsonOption(program.command('mode'))
    .argument('[mode]', 'observe, recommend or auto')
    .description('show or set what the loop may do')
    .action(async (mode: string | undefined, _options, command: Command) => {
      const api = client(command);
      if (mode === undefined) {
        const { mode: present, policy } = await api.get<StatusView>('/v1/status');
        output(command, { mode: present, policy }, () => `${present} (policy ${policy})\n`);
        return;
      }
      if (!['observe', 'recommend', 'auto'].includes(mode))
        throw new CliError(`${mode} is not a mode`, {
          next: 'observe measures and foresees, recommend shows plans, auto carries them out',
          exitCode: EXIT.usage,
        });
      const done = await api.put<{ mode: string }>('/v1/mode', { mode });
      output(command, done, () => `the loop is in ${done.mode}\n`);
    });
  const forecast = program.command('forecast').description('what is foreseen');
  jsonOption(forecast.command('show'))
    .argument('[shard]', '<service>/<key>; without it the whole cluster')
    .description('draw what was measured and what is foreseen, with its band')
    .option('--node <name>', 'the shards of a node, as one')
    .option('--region <name>', 'the shards of a region, as one')
    .addOption(
      new Option('--metric <name>', 'what of them').choices([...FORECAST_METRICS]).default('requests'),
    )
    .option('--ahead <time>', 'how far, up to 24h; some tens of steps without it', aheadSeconds)
    .action(async (shard: string | undefined, options: ShowOptions, command: Command) => {
      const { node, region, metric, ahead } = options;
      if ([shard, node, region].filter((one) => one !== undefined).length > 1)
        throw new CliError('a shard, a node or a region is shown, not two of them', {
          next: 'leave all but one of <shard>, --node and --region out',
          exitCode: EXIT.usage,
        });
      const query = new URLSearchParams({ metric });
      if (node !== undefined) query.set('node', node);
      if (region !== undefined) query.set('region', region);
      if (ahead !== undefined) query.set('aheadS', String(ahead));
      const path = shard === undefined ? '/v1/forecast' : `/v1/forecast/${shardPath(shard)}`;
      const found = await client(command).get<ForecastView>(`${path}?${query}`);
      output(command, found, () => forecastText(found));
    });
}

interface ShowOptions {
  node?: string;
  region?: string;
  metric: string;
  ahead?: number;
}

function aheadSeconds(text: string): number {
  const found = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(text);
  const seconds = found
    ? Number(found[1]) * { s: 1, m: 60, h: 3600 }[found[2] as 's' | 'm' | 'h']
    : Number.NaN;
  if (!(seconds > 0 && seconds <= AHEAD_S_MAX))
    throw new InvalidArgumentError('A time up to 24h, such as 90s, 15m or 24h.');
  return seconds;
}

function status(s: StatusView): string {
  const rows = [
    ['mode', `${s.mode}, policy ${s.policy}`],
    ['leader', s.leader ? `${s.leader.name} at http://${s.leader.httpAddress}` : 'none'],
    ['nodes', `${s.nodes.ready} ready, ${s.nodes.draining} draining, ${s.nodes.cordoned} cordoned`],
    ['gateways', String(s.gateways)],
    ['shards', `${s.shards}, ${s.orphaned} without a process, ${s.quarantined} in quarantine`],
    ['moving', String(s.migrations)],
  ];
  const d = s.lastDecision;
  if (d?.actualRequestsPerSecond !== undefined)
    rows.push([
      'load',
      `${d.actualRequestsPerSecond.toFixed(0)} requests/s${
        d.forecastRequestsPerSecond
          ? `; in ${duration(d.forecastRequestsPerSecond.leadS * 1000)}: ${d.forecastRequestsPerSecond.p50.toFixed(0)} (p90 ${d.forecastRequestsPerSecond.p90.toFixed(0)})`
          : ''
      }`,
    ]);
  if (d?.costUsdPerHour)
    rows.push([
      'cost',
      `${usdPerHour(d.costUsdPerHour.now)} now, ${usdPerHour(d.costUsdPerHour.target)} at the target`,
    ]);
  if (d?.certified)
    rows.push(['target', `${nearness(d.certified.gap)} (${usdPerHour(d.certified.lowerBoundUsdPerHour)})`]);
  for (const { constraint, count, remedy } of d?.infeasible ?? [])
    rows.push(['infeasible', `${constraint} (${count}): ${remedy}`]);
  if (d) rows.push(['last tick', `${d.outcome}: ${d.reason}`]);
  return table(['', ''], rows).trimStart();
}

export function planText({
  plan,
  decision,
  last = decision,
  migrations = [],
}: {
  plan?: Plan;
  decision?: Decision;
  /** The newest decision, which may be one that moved nothing. */
  last?: Decision;
  migrations?: MigrationView[];
}): string {
  const stands = last === undefined ? '' : standing(last);
  if (!plan || !decision) return `no plan has held a move yet; \`skein decision list\` says why\n${stands}`;
  const head = `plan ${plan.generation} of ${clockTime(plan.madeAtMs)} (${decision.outcome}): ${decision.reason}\n`;
  return (
    head +
    stands +
    laterText(plan) +
    table(
      ['SHARD', 'FROM -> TO', 'PRIORITY', 'GAIN', 'COST', 'LATENCY', 'STEP', 'USERS WAIT', 'REASON'],
      plan.moves.map((m) => [
        m.shard,
        `${m.source} -> ${m.target}`,
        m.priority,
        usdPerHour(m.reason.gainUsdPerHour),
        usdPerHour(m.reason.costUsdPerHour),
        `${m.reason.latencyMsNow.toFixed(0)} -> ${m.reason.latencyMsThen.toFixed(0)} ms`,
        ...becameOf(m, migrations),
        m.reason.text,
      ]),
    )
  );
}

/** How good the target is, and what no placement can keep. */
function standing({ certified, infeasible = [], nodeSized = [] }: Decision): string {
  const lines: string[] = [];
  if (certified !== undefined)
    lines.push(
      `the target is ${nearness(certified.gap)}; no placement costs less than ${usdPerHour(certified.lowerBoundUsdPerHour)}`,
    );
  for (const { constraint, count, examples, remedy } of infeasible)
    lines.push(
      `cannot be kept: ${constraint}, ${count} (${examples.slice(0, 3).join(', ')}${count > 3 ? ', ...' : ''}): ${remedy}`,
    );
  for (const { shard, share, neighbours } of nodeSized)
    lines.push(
      `${shard} needs ${Math.round(100 * share)} % of the largest node: ${neighbours === 0 ? 'it stands alone' : `${neighbours} others are on its node, and leave first where it gets busy`}`,
    );
  return lines.map((line) => `${line}\n`).join('');
}

function laterText({ later = [] }: Plan): string {
  if (later.length === 0) return '';
  const late = later.filter((move) => move.late).length;
  const first = later[0]!;
  return `then ${later.length} more as budgets allow, the first (${first.shard} to ${first.target}) in ${duration(1000 * first.startInS)}${late > 0 ? `; ${late} of them late` : ''}; each tick decides anew\n`;
}

/** Where a planned move stands, and what its users waited against what they were promised. */
function becameOf(move: Move, migrations: readonly MigrationView[]): [step: string, users: string] {
  const found = migrations.find(({ shard, target }) => shard === move.shard && target === move.target);
  const users = latencyText({ promise: move.reason.promise, measured: found?.measured }) ?? '';
  return [found?.outcome ?? found?.step ?? '', users];
}

const METRIC_TEXT: Record<ForecastMetric, string> = {
  requests: 'requests/s',
  cpu: 'cores',
  memory: 'bytes of memory',
  networkIn: 'bytes in/s',
  networkOut: 'bytes out/s',
};

function subjectOf({ shard, node, region }: ForecastView): string {
  if (shard !== undefined) return shard;
  if (node !== undefined) return `node ${node}`;
  return region === undefined ? 'the whole cluster' : `region ${region}`;
}

export function forecastText(f: ForecastView): string {
  const p50 = interpolate(f.horizonsS, f.p50, f.stepS, CHART_STEPS_MAX);
  const p90 = interpolate(f.horizonsS, f.p90, f.stepS, CHART_STEPS_MAX);
  const title = `${METRIC_TEXT[f.metric]} of ${subjectOf(f)}, a column each ${duration(f.stepS * 1000)} (● measured, ─ median, ░ up to p90)\n`;
  const drawn = chart({
    history: f.history,
    p50,
    p90,
    width: Math.min(process.stdout.columns ?? 100, 160),
    height: CHART_HEIGHT,
  });
  const lines = [
    ['AHEAD', 'P50', 'P90', 'P99'],
    ...f.horizonsS.map((h, i) => [
      duration(h * 1000),
      ...[f.p50, f.p90, f.p99].map((q) => amount(q[i] ?? 0)),
    ]),
  ];
  const periods = f.explanation?.periodsS ?? [];
  const repeats =
    periods.length > 0
      ? `repeats every ${periods.map((s) => duration(s * 1000)).join(', ')}\n`
      : 'no period stands out yet\n';
  const errors = pastErrors(f);
  return `${title}${drawn}\n${table(lines[0]!, lines.slice(1))}${repeats}${mixText(f)}${errors}`;
}

/** Which handlers the service is asked for: now, and at the last horizon. */
function mixText({ mix, horizonsS }: ForecastView): string {
  if (mix === undefined || mix.length === 0) return '';
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const shares = mix.map(
    ({ handler, now, ahead }) => `${handler} ${percent(now)} -> ${percent(ahead[ahead.length - 1] ?? now)}`,
  );
  return `asked for, now and in ${duration((horizonsS[horizonsS.length - 1] ?? 0) * 1000)}: ${shares.join(', ')}\n`;
}

/** How well the steps that are drawn were foreseen. */
function pastErrors(f: ForecastView): string {
  let error = 0;
  let total = 0;
  f.history.forEach((actual, i) => {
    const foreseen = f.foreseen[i];
    if (foreseen === null || foreseen === undefined) return;
    error += Math.abs(actual - foreseen);
    total += actual;
  });
  return total > 0 ? `of late it was off by ${((100 * error) / total).toFixed(1)} % of the load\n` : '';
}
