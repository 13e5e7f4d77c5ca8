/**
 * A Prometheus range query as load series: `GET /api/v1/query_range` (prometheus.io, "HTTP API", range queries).
 *
 * Long ranges are asked for in parts, since a server refuses more than 11,000 points a series. What the server says of an
 * error is passed on.
 */
import { onGrid, type Series, TraceError } from '../backtest/index.ts';
import { CliError, EXIT } from './errors.ts';

/** Points of a series in one answer; servers refuse more than 11,000. */
const POINTS_MAX = 10_000;
/** An answer that takes longer than this is given up. Milliseconds. */
const TIMEOUT_MS = 60_000;
const DEFAULT_RANGE_S = 14 * 86_400;
/** Points of a series in all: a thousand answers. */
const RANGE_POINTS_MAX = 10_000_000;

export interface RangeQuery {
  url: string;
  query: string;
  start?: string;
  end?: string;
  stepS: number;
}

interface Answer {
  status?: string;
  error?: string;
  errorType?: string;
  data?: { resultType?: string; result?: Row[] };
}

interface Row {
  metric: Record<string, string>;
  values?: [number, string][];
}

/** @throws CliError with what the server said, or why it could not be asked */
export async function queryRange(asked: RangeQuery): Promise<Series[]> {
  const endS = asked.end === undefined ? Math.floor(Date.now() / 1000) : timeS('--end', asked.end);
  const startS = asked.start === undefined ? endS - DEFAULT_RANGE_S : timeS('--start', asked.start);
  if (!(startS < endS))
    throw new CliError('--start is not before --end', {
      exitCode: EXIT.usage,
      next: 'give a range of some days',
    });
  if ((endS - startS) / asked.stepS > RANGE_POINTS_MAX)
    throw new CliError(`the range has more than ${RANGE_POINTS_MAX} steps of ${asked.stepS} s`, {
      exitCode: EXIT.usage,
      next: 'give a longer --step, or a shorter range by --start and --end',
    });
  const rows = new Map<string, { times: number[]; values: number[]; origin?: string }>();
  for (let fromS = startS; fromS < endS; fromS += POINTS_MAX * asked.stepS) {
    const toS = Math.min(endS, fromS + (POINTS_MAX - 1) * asked.stepS);
    for (const { metric, values } of await askOnce(asked, fromS, toS)) {
      const id = nameOf(metric);
      let row = rows.get(id);
      if (row === undefined) {
        row = { times: [], values: [], origin: metric.origin };
        rows.set(id, row);
      }
      for (const [atS, text] of values ?? []) {
        const value = Number(text);
        // NaN and infinities are how Prometheus says that there is no number, such as after a division by zero.
        if (!Number.isFinite(value)) continue;
        if (value < 0)
          throw new CliError(`the series ${id} is ${text} at ${atS}: load cannot be negative`, {
            next: 'ask for a rate or a gauge of load, such as rate(http_requests_total[5m])',
          });
        row.times.push(atS);
        row.values.push(value);
      }
    }
  }
  const series = [...rows]
    .filter(([, { times }]) => times.length > 1)
    .map(([id, { times, values, origin }]) => ({ ...gridOf(id, times, values), origin }));
  if (series.length === 0)
    throw new CliError('the query has no data in the range', {
      why: asked.query,
      next: 'try it in the Prometheus console, or give --start and --end',
    });
  return series;
}

/** Rows of one name on a grid. */
function gridOf(id: string, times: readonly number[], values: readonly number[]): Series {
  try {
    return onGrid(id, times, values);
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    throw new CliError(`the series ${JSON.stringify(id)} cannot be read`, {
      why: error.message.replace(/^line \d+: /, ''),
      next: 'let each series of the query have labels of its own, and a step of a second or more',
      cause: error,
    });
  }
}

async function askOnce({ url, query, stepS }: RangeQuery, fromS: number, toS: number) {
  let address: URL;
  try {
    address = new URL(`${url.replace(/\/$/, '')}/api/v1/query_range`);
    if (!/^https?:$/.test(address.protocol)) throw new RangeError(address.protocol);
  } catch {
    throw new CliError(`${JSON.stringify(url)} is not a URL`, {
      exitCode: EXIT.usage,
      next: 'give one such as http://prometheus:9090',
    });
  }
  for (const [name, value] of Object.entries({ query, start: fromS, end: toS, step: stepS }))
    address.searchParams.set(name, String(value));
  const headers = authorizationOf(address);
  let status: number;
  let body: string;
  try {
    const response = await fetch(address, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    status = response.status;
    body = await response.text();
  } catch (error) {
    const cause = (error as { cause?: Error }).cause;
    throw new CliError(`the Prometheus server at ${address.origin} did not answer`, {
      why: cause?.message || (error as Error).message,
      next: 'is the address right, and may this machine reach it?',
      cause: error,
    });
  }
  const foreign = () =>
    new CliError(`${address.origin} answered ${status}, and not as Prometheus does`, {
      why: body.slice(0, 200),
      next: nextOfStatus(status),
    });
  let answer: Answer | null;
  try {
    answer = JSON.parse(body) as Answer | null;
  } catch {
    throw foreign();
  }
  if (typeof answer !== 'object' || answer === null) throw foreign();
  if (status !== 200 || answer.status !== 'success')
    throw new CliError(
      `Prometheus refused the query (${status}${answer.errorType ? `, ${answer.errorType}` : ''})`,
      {
        why: answer.error ?? body.slice(0, 200),
        next: 'correct --query, --step or the range',
      },
    );
  if (answer.data?.resultType !== 'matrix' || !Array.isArray(answer.data.result))
    throw new CliError(`Prometheus answered a ${answer.data?.resultType ?? 'nothing'}, not a matrix`, {
      next: 'the query must be an instant vector that can be asked over a range',
    });
  if (!answer.data.result.every(isRow)) throw foreign();
  return answer.data.result;
}

function isRow(row: Partial<Row> | null): boolean {
  if (typeof row?.metric !== 'object' || row.metric === null) return false;
  if (row.values === undefined) return true;
  return (
    Array.isArray(row.values) &&
    row.values.every(
      (value) => Array.isArray(value) && typeof value[0] === 'number' && typeof value[1] === 'string',
    )
  );
}

/** User and password of the address as a header; they are taken out of it, so that no message shows them. */
function authorizationOf(address: URL): Record<string, string> {
  const { username, password } = address;
  if (username === '' && password === '') return {};
  address.username = '';
  address.password = '';
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function nextOfStatus(status: number): string {
  if (status === 401 || status === 403)
    return 'give user and password in the address: --prometheus https://USER:PASSWORD@HOST';
  if (status === 429 || status >= 500)
    return 'the server, or a proxy before it, is in trouble: try again later';
  return 'the path /api/v1/query_range must lead to Prometheus or what speaks like it';
}

/** Labels as a name; a label `shard`, `tenant` or `id` is enough where it is there. */
function nameOf(metric: Record<string, string>): string {
  const short = metric.shard ?? metric.tenant ?? metric.id;
  const others = Object.entries(metric).filter(([name]) => name !== 'origin');
  if (short !== undefined && others.length === 1) return short;
  return others.length === 0 ? 'all' : others.map(([name, value]) => `${name}=${value}`).join(',');
}

function timeS(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  const parsed = Date.parse(text);
  if (Number.isNaN(parsed))
    throw new CliError(`${option}: ${JSON.stringify(text)} is not a time`, {
      exitCode: EXIT.usage,
      next: 'give ISO 8601, such as 2026-03-01T00:00:00Z, or Unix seconds',
    });
  return parsed / 1000;
}
