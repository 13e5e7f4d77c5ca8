/** The live screen as lines of text: a pure function of the view. `screen-driver.ts` puts them on a terminal. */
import type { DemoView, MigrationEvent } from './view.ts';

export interface ScreenSize {
  columns: number;
  rows: number;
  /** Escape sequences for colour; without them the text is the same. */
  color: boolean;
}

const BARS = '▁▂▃▄▅▆▇█';
const LABEL = 18;
const MOVES_SHOWN = 5;

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
const CODES: Record<Style, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** At most `rows` lines, each at most `columns` characters wide (escape sequences not counted). */
export function renderScreen(view: DemoView, size: ScreenSize): string[] {
  return compose(view, size)
    .slice(0, size.rows)
    .map((line) => fitTo(line, size.columns));
}

function compose(view: DemoView, size: ScreenSize): string[] {
  const paint = (text: string, style: Style) =>
    size.color && text !== '' ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
  const cut = (text: string, width = size.columns) => cutTo(text, width);
  const label = (text: string) => paint(text.padEnd(LABEL), 'dim');
  const rest = size.columns - LABEL;
  const lines: string[] = [];

  const day = Math.floor(view.elapsedS / view.dayS) + 1;
  const until = view.forS === undefined ? '' : ` of ${duration(view.forS)}`;
  const right = 'Ctrl-C ends it';
  const title = cut(
    `skein  ${view.title}  day ${day} (a day is ${duration(view.dayS)})  ${duration(view.elapsedS)}${until}`,
    size.columns - right.length - 1,
  );
  lines.push(paint(title.padEnd(size.columns - right.length), 'bold') + paint(right, 'dim'));

  const { load } = view;
  if (!load) {
    lines.push('', 'starting ...');
    return lines;
  }
  const failed =
    load.totalFailed === 0 ? paint('0 failed', 'green') : paint(`${load.totalFailed} failed`, 'red');
  lines.push(
    `${count(load.requestsPerSecond)} requests/s, ${count(load.totalRequests)} in all, ${failed}, ${count(load.acknowledged)} commands acknowledged`,
  );
  lines.push('');

  lines.push(paint(`${'origin'.padEnd(LABEL)}local time     p50        p99     failed  asking`, 'dim'));
  const busiest = Math.max(1, ...view.origins.map(({ requests }) => requests));
  for (const origin of view.origins) {
    const bar = '█'.repeat(Math.round((origin.requests / busiest) * Math.max(0, size.columns - 62)));
    const text =
      origin.region.padEnd(LABEL) +
      clock(origin.localHour).padStart(7) +
      milliseconds(origin.p50Ms).padStart(12) +
      milliseconds(origin.p99Ms).padStart(11) +
      String(origin.failed).padStart(10);
    lines.push(`${cut(text)}  ${paint(bar, 'cyan')}`);
  }
  lines.push('');

  if (view.forecast && view.forecast.history.length > 0) {
    const actual = view.forecast.history.slice(-rest);
    const foreseen = view.forecast.foreseen.slice(-rest);
    const top = Math.max(1, ...actual, ...foreseen.map((value) => value ?? 0));
    lines.push(`${label('requests/s')}${paint(spark(actual, top), 'green')}`);
    lines.push(`${label('as foreseen')}${paint(spark(foreseen, top), 'yellow')}`);
  } else lines.push(`${label('requests/s')}(no step measured yet)`);

  lines.push(...strip(view, rest).map(([name, text]) => `${label(name)}${paint(text, 'cyan')}`));
  lines.push('');

  const rolledBack = view.movesRolledBack === 0 ? '' : `, ${view.movesRolledBack} rolled back`;
  lines.push(
    `${label('moves')}${view.moves.length} under way, ${count(view.movesCompleted)} completed${rolledBack}`,
  );
  const shown = [...view.moves].sort((a, b) => b.percent - a.percent).slice(0, MOVES_SHOWN);
  for (const move of shown) lines.push(cut(`  ${moveLine(move)}`));

  lines.push('');
  for (const line of wrap(why(view), size.columns, 3)) lines.push(line);
  if (load.lastFailure !== undefined) lines.push(paint(cut(`failure: ${load.lastFailure}`), 'red'));
  for (const notice of view.notices) lines.push(paint(cut(notice), 'yellow'));
  return lines;
}

/** One line for a log, once in a while: what the screen says first. */
export function renderLine(view: DemoView): string {
  const { load } = view;
  if (!load) return `${view.title}: starting`;
  const origins = view.origins
    .map(({ region, p50Ms, p99Ms }) => `${region} p50 ${milliseconds(p50Ms)} p99 ${milliseconds(p99Ms)}`)
    .join(', ');
  const foreseen = view.forecast?.foreseen.at(-1);
  const forecast = foreseen == null ? '' : `; foreseen ${count(Math.round(foreseen))}/s`;
  const moves = view.moves.slice(0, 3).map(moveLine).join('; ');
  return [
    `${duration(view.elapsedS)} ${view.title}: ${count(load.requestsPerSecond)} requests/s${forecast}`,
    `${load.totalFailed} failed`,
    origins,
    `${view.moves.length} moves under way${moves === '' ? '' : ` (${moves})`}, ${view.movesCompleted} completed, ${view.movesRolledBack} rolled back`,
    why(view),
  ].join(' | ');
}

function why(view: DemoView): string {
  const { decision, movingDecision } = view;
  if (!decision) return 'no tick yet';
  const now = `tick ${decision.tick}, ${decision.outcome}: ${decision.reason}`;
  const moves = (decision.plan ?? movingDecision?.plan)?.moves ?? [];
  const first = moves[0];
  if (!first) return now;
  const shown = decision.plan && decision.plan.moves.length > 0 ? decision : movingDecision!;
  const more = moves.length > 1 ? ` (and ${moves.length - 1} more)` : '';
  return `${now} | tick ${shown.tick} moved ${first.shard}${more}: ${first.reason.text}`;
}

/** Where the shards are: a bar a region, in proportion, with the share of each of its nodes. */
function strip(view: DemoView, width: number): [name: string, text: string][] {
  const total = view.nodes.reduce((sum, node) => sum + node.shards, 0);
  return view.origins.map(({ region }) => {
    const nodes = view.nodes.filter((node) => node.region === region);
    const shards = nodes.reduce((sum, node) => sum + node.shards, 0);
    const numbers = ` ${count(shards)} shards on ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}`;
    const bar = total === 0 ? 0 : Math.round((shards / total) * Math.max(0, width - numbers.length));
    return [`in ${region}`, `${'▒'.repeat(bar)}${numbers}`];
  });
}

function moveLine(move: MigrationEvent): string {
  const name = (process: string) => process.replace(/\.[^.]*$/, '');
  const percent = move.step === 'shift' || move.percent > 0 ? ` ${move.percent} %` : '';
  return `${move.shard} ${name(move.source)} -> ${name(move.target)} ${move.step}${percent}`;
}

/** Eight heights from 0 to `top`; a gap where there is no value. */
export function spark(values: readonly (number | null | undefined)[], top: number): string {
  return values
    .map((value) => {
      if (value === null || value === undefined || !Number.isFinite(value)) return ' ';
      const height = Math.round((Math.max(0, value) / top) * (BARS.length - 1));
      return BARS[Math.min(BARS.length - 1, height)]!;
    })
    .join('');
}

function wrap(text: string, width: number, linesMax: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
      if (lines.length === linesMax) {
        lines[linesMax - 1] = cutTo(`${lines[linesMax - 1]} ${word} ...`, width);
        return lines;
      }
    }
    line = cutTo(line === '' ? word : `${line} ${word}`, width);
  }
  if (line !== '') lines.push(line);
  return lines;
}

/** Cuts a painted line after `width` visible characters. */
function fitTo(line: string, width: number): string {
  let visible = 0;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === '\u001b') {
      at = line.indexOf('m', at);
      continue;
    }
    if (visible === width) return line.slice(0, at) + (line.includes('\u001b') ? '\u001b[0m' : '');
    visible++;
  }
  return line;
}

function cutTo(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

function clock(hour: number): string {
  const minutes = Math.floor(hour * 60);
  return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
}

function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 120) return `${Number.isInteger(seconds) ? seconds : whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}
