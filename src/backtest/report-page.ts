/**
 * The report as one page: verdict, frontiers of dollars against minutes, the load, the table, the parameters. Plain HTML
 * with inline SVG, no script and nothing fetched, so that it can be mailed. Pure.
 */
import { frontier } from './compare.ts';
import type { Report } from './experiment.ts';
import { POLICY_TEXT, type PolicyId } from './model.ts';

const WIDTH = 860;
const HEIGHT = 380;
const MARGIN = { left: 70, right: 150, top: 16, bottom: 46 };
const COLOURS: Record<PolicyId, string> = {
  hash: '#b0a99f',
  static: '#8c8577',
  bestFixed: '#5d574c',
  hpa: '#c77d11',
  threshold: '#e0b04b',
  reactive: '#b3261e',
  seasonalNaive: '#7a5cc4',
  predictive: '#0b6bcb',
  oracle: '#1b8a4b',
};

/** @returns a whole HTML document */
export function reportPage(report: Report): string {
  const { scenario } = report;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Backtest: ${safe(scenario.name)}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#1c1b19;background:#fff}
table{border-collapse:collapse;font-size:14px}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}pre{background:#f5f3ef;padding:1rem;overflow:auto;font-size:13px}
svg{max-width:100%;height:auto}
</style></head><body>
<h1>Backtest: ${safe(scenario.name)}</h1>
<p>${safe(scenario.text)}. ${report.shards} shards, ${report.scoredDays.toFixed(1)} days scored in steps of ${report.stepS} s, ${report.seeds.length} seeds; a new node has its shards ${Math.round(report.leadS)} s after it is asked for.</p>
<ul>${report.verdict.text.map((line) => `<li>${safe(line)}</li>`).join('')}</ul>
<h2>Dollars against minutes over the objective</h2>
${frontierPlot(report)}
<p>Seed 1. Each mark is a run at one headroom; lower and further left is better. The shaded dollars are those compared over.</p>
<h2>Load</h2>
${loadPlot(report)}
<h2>Every run</h2>
${table(report)}
<h2>Policies</h2>
<ul>${scenario.policies.map((policy) => `<li><b>${policy}</b>: ${safe(POLICY_TEXT[policy])}</li>`).join('')}</ul>
<h2>Parameters</h2>
<pre>${safe(JSON.stringify(scenario, null, 2))}</pre>
</body></html>
`;
}

function frontierPlot(report: Report): string {
  const seed = report.seeds[0]!;
  const runs = seed.runs;
  const usdMin = Math.min(...runs.map((run) => run.usd.total));
  const usdMax = Math.max(...runs.map((run) => run.usd.total), usdMin * 1.001 + 1e-9);
  const most = Math.max(1, ...runs.map((run) => run.minutesOver));
  const x = scale(usdMin, usdMax, MARGIN.left, WIDTH - MARGIN.right);
  // A root keeps small numbers apart and zero at zero.
  const y = (minutes: number) =>
    HEIGHT - MARGIN.bottom - Math.sqrt(minutes / most) * (HEIGHT - MARGIN.bottom - MARGIN.top);
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
      `<text x="${x(usd).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 18}" font-size="12" text-anchor="middle">$${usd.toFixed(usdMax < 20 ? 1 : 0)}</text>`,
  );
  const ticksY = [0, 1 / 16, 1 / 4, 9 / 16, 1].map((share) => {
    const minutes = share * most;
    return `<text x="${MARGIN.left - 8}" y="${(y(minutes) + 4).toFixed(1)}" font-size="12" text-anchor="end">${minutes.toFixed(most < 20 ? 1 : 0)}</text><line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(minutes).toFixed(1)}" y2="${y(minutes).toFixed(1)}" stroke="#ddd"/>`;
  });
  const axes = `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 8}" font-size="13" text-anchor="middle">dollars over ${report.scoredDays.toFixed(1)} days: nodes, egress, moves</text><text x="14" y="${HEIGHT / 2}" font-size="13" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">minutes over the objective (root scale)</text>`;
  return svg(
    'dollars against minutes over the objective, a line a policy',
    [shade, ...ticksY, ...lines, ...ticksX, axes].join(''),
  );
}

function loadPlot(report: Report): string {
  const values = report.load.requestsPerSecond;
  const most = Math.max(1e-9, ...values);
  const height = 180;
  const x = scale(0, Math.max(1, values.length - 1), MARGIN.left, WIDTH - 20);
  const stride = Math.max(1, Math.floor(values.length / 1500));
  const points: string[] = [];
  for (let i = 0; i < values.length; i += stride) {
    // The most of each stride: a spike must not vanish from the picture.
    const value = Math.max(...values.slice(i, i + stride));
    points.push(`${x(i).toFixed(1)},${(height - 30 - (value / most) * (height - 46)).toFixed(1)}`);
  }
  const labels = [0, most].map(
    (value) =>
      `<text x="${MARGIN.left - 8}" y="${(height - 26 - (value / most) * (height - 46)).toFixed(1)}" font-size="12" text-anchor="end">${value.toFixed(0)}</text>`,
  );
  const days = ticks(0, report.scoredDays, 6).map(
    (day) =>
      `<text x="${x((day * 86_400) / report.load.stepS).toFixed(1)}" y="${height - 10}" font-size="12" text-anchor="middle">day ${day.toFixed(1)}</text>`,
  );
  return svg(
    'requests a second over the scored days',
    `<polyline points="${points.join(' ')}" fill="none" stroke="#0b6bcb" stroke-width="1.2"/>${labels.join('')}${days.join('')}`,
    height,
  );
}

function table(report: Report): string {
  const rows = report.seeds[0]!.runs.map(
    (run) =>
      `<tr><td>${run.policy}</td><td>${run.headroom}</td><td>${run.usd.total.toFixed(2)}</td><td>${run.usd.nodes.toFixed(2)}</td><td>${run.usd.egress.toFixed(2)}</td><td>${run.usd.moves.toFixed(2)}</td><td>${run.minutesOver.toFixed(1)}</td><td>${run.latencyMs.p50.toFixed(0)}</td><td>${run.latencyMs.p99.toFixed(0)}</td><td>${run.moves}</td><td>${(run.bytesMoved / 1e9).toFixed(0)}</td><td>${run.pingPong}</td><td>${run.nodesMean.toFixed(1)}</td><td>${run.certifiedGap === undefined ? '' : `${(100 * run.certifiedGap.median).toFixed(1)} %`}</td></tr>`,
  );
  return `<table><thead><tr><th>policy</th><th>headroom</th><th>$</th><th>nodes $</th><th>egress $</th><th>moves $</th><th>minutes over</th><th>p50 ms</th><th>p99 ms</th><th>moves</th><th>GB</th><th>back in 1 h</th><th>nodes</th><th>gap</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function svg(label: string, content: string, height = HEIGHT): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${safe(label)}" font-family="system-ui,sans-serif" fill="#1c1b19">${content}</svg>`;
}

function scale(from: number, to: number, low: number, high: number): (value: number) => number {
  return (value) => low + ((value - from) / Math.max(1e-12, to - from)) * (high - low);
}

function ticks(from: number, to: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
}

function safe(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
