/**
 * The report as one page: verdict, frontiers of dollars against minutes, the load, the table, the parameters. Plain HTML
 * with inline SVG, no script and nothing fetched, so that it can be mailed. Pure.
 */
import { frontier } from './compare.ts';
import type { Report } from './experiment.ts';
import { POLICY_TEXT, type PolicyId } from './model.ts';
import { RUN_COLUMNS } from './run-columns.ts';

const WIDTH = 860;
const HEIGHT = 380;
const MARGIN = { left: 70, right: 152, top: 16, bottom: 46 };
const PLOT_POINTS = 1500;
const COLOURS: Record<PolicyId, string> = {
  hash: '#b0a99f',
  static: '#8c8577',
  bestFixed: '#5d574c',
  hpa: '#c77d11',
  threshold: '#e0b04b',
  latencyGreedy: '#96711c',
  lastValue: '#e0776f',
  reactive: '#b3261e',
  seasonalNaive: '#7a5cc4',
  predictive: '#0b6bcb',
  oracle: '#1b8a4b',
};

/** @returns a whole HTML document */
export function reportPage(report: Report): string {
  const { scenario } = report;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Backtest: ${safe(scenario.name)}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c1b19;background:#fff}
h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2.2rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}td,th{padding:.2rem .4rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th{vertical-align:bottom;font-weight:600}td:first-child,th:first-child{text-align:left}td.text{text-align:left;white-space:normal}
tr.first td{border-top:2px solid #bbb}.scroll{overflow-x:auto}.scroll table{font-size:12px}.scroll td,.scroll th{padding:.2rem .28rem}.note{color:#5d574c;font-size:14px}
pre{background:#f5f3ef;padding:1rem;overflow:auto;font-size:13px}
svg{display:block;max-width:100%;height:auto}i.key{display:inline-block;width:14px;height:4px;margin-right:.5rem;vertical-align:middle}
</style></head><body>
<h1>Backtest: ${safe(scenario.name)}</h1>
<p>${safe(facts(report))}</p>
<ul>${report.verdict.text.map((line) => `<li>${safe(line)}</li>`).join('')}</ul>
<h2>Policies</h2>
${policyTable(report)}
<p class="note">Minutes over the objective: mean over the dollars compared and all seeds.</p>
<h2>Dollars against minutes over the objective</h2>
${frontierPlot(report)}
<p class="note">Seed 1. Each mark is a run at one headroom; lower and further left is better. The shaded dollars are those compared over.</p>
<h2>Load</h2>
${loadPlot(report)}
${gapPlot(report)}
<h2>Every run of seed 1</h2>
${runTable(report)}
<p class="note">${safe(standbyNote(report))}</p>
<h2>Parameters</h2>
<pre>${safe(JSON.stringify(scenario, null, 2))}</pre>
</body></html>
`;
}

/** What was replayed, in a sentence. */
export function facts(report: Report): string {
  const { scenario, seeds } = report;
  return `${scenario.text[0]!.toUpperCase()}${scenario.text.slice(1)}. ${report.shards} shards, ${report.scoredDays.toFixed(1)} days scored in steps of ${report.stepS} s, ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}; a new node has its shards ${Math.round(report.leadS)} s after it is asked for.`;
}

/** Why there are promotions or none. */
export function standbyNote({ scenario }: Report): string {
  return scenario.cluster.standbys > 0
    ? 'Each shard has a standby on another node of its region: a move to it is a promotion, which takes no bytes. "GB copied" are bytes for standbys.'
    : 'The scenario has no standbys, so no move is a promotion (cluster.standbys, --standbys 1).';
}

function policyTable(report: Report): string {
  const rows = report.scenario.policies.map((policy) => {
    const values = report.seeds.flatMap((seed) => seed.minutes[policy] ?? []);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const minutes = values.length === report.seeds.length ? mean.toFixed(1) : 'not so cheap';
    return `<tr><td><i class="key" style="background:${COLOURS[policy]}"></i>${policy}</td><td>${minutes}</td><td class="text">${safe(POLICY_TEXT[policy])}</td></tr>`;
  });
  return `<table><thead><tr><th>policy</th><th>minutes over</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function frontierPlot(report: Report): string {
  const seed = report.seeds[0]!;
  const runs = seed.runs;
  const usdMin = Math.min(...runs.map((run) => run.usd.total));
  const usdMax = Math.max(...runs.map((run) => run.usd.total), usdMin * 1.001 + 1e-9);
  const most = Math.max(1, ...runs.map((run) => run.minutesOver));
  const x = scale(usdMin, usdMax, MARGIN.left, WIDTH - MARGIN.right);
  // The scale on which what is compared between two points is a straight line.
  const y = (minutes: number) =>
    HEIGHT - MARGIN.bottom - (Math.log1p(minutes) / Math.log1p(most)) * (HEIGHT - MARGIN.bottom - MARGIN.top);
  const shade = `<rect x="${x(seed.usd[0]).toFixed(1)}" y="${MARGIN.top}" width="${Math.max(1, x(seed.usd[1]) - x(seed.usd[0])).toFixed(1)}" height="${HEIGHT - MARGIN.top - MARGIN.bottom}" fill="#f0ede6"/>`;
  const lines = [...Map.groupBy(runs, (run) => run.policy)].map(([policy, group], i) => {
    const points = frontier(group)
      .map((point) => `${x(point.usd).toFixed(1)},${y(point.minutesOver).toFixed(1)}`)
      .join(' ');
    const marks = group
      .map(
        (run) =>
          `<circle cx="${x(run.usd.total).toFixed(1)}" cy="${y(run.minutesOver).toFixed(1)}" r="3.2" fill="${COLOURS[policy]}"><title>${policy}, headroom ${run.headroom}: $${run.usd.total.toFixed(2)}, ${run.minutesOver.toFixed(1)} min</title></circle>`,
      )
      .join('');
    const legend = `<rect x="${WIDTH - MARGIN.right + 18}" y="${MARGIN.top + 22 * i}" width="14" height="4" fill="${COLOURS[policy]}"/><text x="${WIDTH - MARGIN.right + 38}" y="${MARGIN.top + 7 + 22 * i}" font-size="13">${policy}</text>`;
    return `<polyline points="${points}" fill="none" stroke="${COLOURS[policy]}" stroke-width="2"/>${marks}${legend}`;
  });
  const ticksX = ticks(usdMin, usdMax, 6).map(
    (usd) =>
      `<text x="${x(usd).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 18}" font-size="12" text-anchor="middle">$${usd}</text>`,
  );
  const ticksY = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const minutes = Math.expm1(share * Math.log1p(most));
    return `<text x="${MARGIN.left - 8}" y="${(y(minutes) + 4).toFixed(1)}" font-size="12" text-anchor="end">${minutes.toFixed(most < 20 ? 1 : 0)}</text><line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(minutes).toFixed(1)}" y2="${y(minutes).toFixed(1)}" stroke="#ddd"/>`;
  });
  const axes = `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 8}" font-size="13" text-anchor="middle">dollars over ${report.scoredDays.toFixed(1)} days: nodes, egress, moves</text><text x="14" y="${HEIGHT / 2}" font-size="13" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">minutes over the objective (logarithmic from 1 up)</text>`;
  return svg(
    'dollars against minutes over the objective, a line a policy',
    [shade, ...ticksY, ...lines, ...ticksX, axes].join(''),
  );
}

function loadPlot(report: Report): string {
  const { stepS, requestsPerSecond } = report.load;
  const most = Math.max(1e-9, ...requestsPerSecond);
  const height = 180;
  const x = scale(0, requestsPerSecond.length * stepS, MARGIN.left, WIDTH - 20);
  const y = (value: number) => height - 30 - (value / most) * (height - 46);
  const points = thinned(
    requestsPerSecond.map((value, i) => [(i + 0.5) * stepS, value] as const),
    PLOT_POINTS,
  ).map(([atS, value]) => `${x(atS).toFixed(1)},${y(value).toFixed(1)}`);
  const labels = [0, most].map(
    (value) =>
      `<text x="${MARGIN.left - 8}" y="${(y(value) + 4).toFixed(1)}" font-size="12" text-anchor="end">${value.toFixed(0)}</text><line x1="${MARGIN.left}" x2="${WIDTH - 20}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#ddd"/>`,
  );
  return svg(
    'requests a second over the scored days',
    `${labels.join('')}${dayLabels(report, x, height)}<polyline points="${points.join(' ')}" fill="none" stroke="#0b6bcb" stroke-width="1.2"/><text x="14" y="${height / 2}" font-size="13" text-anchor="middle" transform="rotate(-90 14 ${height / 2})">requests/s</text>`,
    height,
  );
}

/** The certified gap of the rounds of the predictive policy, or of the first that has one, at its middle headroom. */
function gapPlot(report: Report): string {
  const runs = report.seeds[0]!.runs.filter((run) => run.certifiedGap !== undefined);
  const policy = runs.some((run) => run.policy === 'predictive') ? 'predictive' : runs[0]?.policy;
  const own = runs.filter((run) => run.policy === policy);
  const run = own[own.length >> 1];
  if (run === undefined) return '';
  const gaps = run.certifiedGap!.byRound;
  const height = 150;
  const most = Math.max(0.01, ...gaps.map(([, gap]) => gap));
  const x = scale(0, run.scoredS, MARGIN.left, WIDTH - 20);
  const y = (gap: number) => height - 30 - (gap / most) * (height - 46);
  const points = thinned(gaps, PLOT_POINTS).map(([atS, gap]) => `${x(atS).toFixed(1)},${y(gap).toFixed(1)}`);
  const labels = [0, most].map(
    (gap) =>
      `<text x="${MARGIN.left - 8}" y="${(y(gap) + 4).toFixed(1)}" font-size="12" text-anchor="end">${(100 * gap).toFixed(most < 0.1 ? 1 : 0)} %</text>`,
  );
  return `<h2>Certified gap</h2>
${svg('certified gap of rounds', `${labels.join('')}${dayLabels(report, x, height)}<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[run.policy]}" stroke-width="1.2"/>`, height)}
<p class="note">${run.policy} at headroom ${run.headroom}, round by round (in one region, one round in twelve): no placement whatever is more than that much cheaper than the one aimed at. The JSON has it for every run.</p>`;
}

function dayLabels(report: Report, x: (seconds: number) => number, height: number): string {
  const [unitS, unit] = report.scoredDays < 2 ? [3600, 'h'] : [86_400, 'd'];
  return ticks(0, (report.scoredDays * 86_400) / unitS, 8)
    .map(
      (at) =>
        `<text x="${x(at * unitS).toFixed(1)}" y="${height - 10}" font-size="12" text-anchor="middle">${at} ${unit}</text>`,
    )
    .join('');
}

/** The greatest of each group: a spike must not vanish from the picture. */
function thinned(
  points: readonly (readonly [number, number])[],
  count: number,
): (readonly [number, number])[] {
  const stride = Math.max(1, Math.ceil(points.length / count));
  return Array.from({ length: Math.ceil(points.length / stride) }, (_, i) =>
    points.slice(i * stride, (i + 1) * stride).reduce((a, b) => (b[1] > a[1] ? b : a)),
  );
}

function runTable(report: Report): string {
  let before = '';
  const rows = report.seeds[0]!.runs.map((run) => {
    const first = run.policy !== before;
    before = run.policy;
    const cells = RUN_COLUMNS.map(({ of }) => `<td>${safe(of(run))}</td>`).join('');
    return `<tr${first ? ' class="first"' : ''}>${cells}</tr>`;
  });
  const heads = RUN_COLUMNS.map(({ name }) => `<th>${safe(name)}</th>`).join('');
  return `<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function svg(label: string, content: string, height = HEIGHT): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${safe(label)}" font-family="system-ui,sans-serif" fill="#1c1b19">${content}</svg>`;
}

function scale(from: number, to: number, low: number, high: number): (value: number) => number {
  return (value) => low + ((value - from) / Math.max(1e-12, to - from)) * (high - low);
}

/** Round numbers within a range: at most so many. */
function ticks(from: number, to: number, most: number): number[] {
  const raw = Math.max(1e-9, (to - from) / most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const by = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const found: number[] = [];
  for (let i = Math.ceil(from / by - 1e-9); i * by <= to + 1e-9; i++)
    found.push(Number((i * by).toPrecision(12)));
  return found;
}

function safe(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
