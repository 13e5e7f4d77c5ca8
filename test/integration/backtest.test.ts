/**
 * Test plan: `skein backtest` as a user runs it, on small loads: a scenario, CSV and JSON Lines of one's own, a fake
 * Prometheus server on loopback; and bad input of every kind, each with line or cause, what to do, and its exit status.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../../src/backtest/index.ts';
import { CliError, formatError } from '../../src/cli/errors.ts';
import { makeProgram } from '../../src/cli/program.ts';

const BIN = fileURLToPath(new URL('../../bin/skein.mjs', import.meta.url));
const SMALL = ['--seeds', '1', '--headrooms', '0.4,0.7', '--peak-nodes', '4'];
const FEW = ['--policies', 'hpa,reactive,oracle'];
const DAY = 86_400;
const START_S = 1_767_571_200;

let directory: string;
let server: Server;
let url: string;
const asked: URL[] = [];

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

function backtest(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [BIN, 'backtest', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ran: Ran = { status: null, stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      ran.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      ran.stderr += chunk;
    });
    child.on('close', (status) => resolve({ ...ran, status }));
  });
}

function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Whole processes on a busy machine. */
const LONG = { timeout: 120_000 };

/** Two tenants that work from nine to five, by steps of 15 minutes. */
const value = (atS: number, tenant: number) => {
  const hour = (atS % DAY) / 3600;
  return hour >= 9 && hour < 17 ? 10 + tenant : 1;
};
const STEP_S = 900;
const STEPS = (4 * DAY) / STEP_S;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'skein-backtest-'));
  server = createServer((request, response) => {
    const at = new URL(request.url!, 'http://localhost');
    asked.push(at);
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    };
    const query = at.searchParams.get('query');
    const matrix = (rows: unknown) =>
      answer(200, { status: 'success', data: { resultType: 'matrix', result: rows } });
    if (query === 'secret' && request.headers.authorization !== `Basic ${btoa('ada:p@ss')}`)
      return answer(401, 'Unauthorized');
    if (query === 'down') return answer(502, 'Bad Gateway');
    if (query === 'null') return answer(200, 'null');
    if (query === 'no row') return matrix([null]);
    if (query === 'no labels') return matrix([{ metric: null, values: [] }]);
    if (query === 'no pairs') return matrix([{ metric: {}, values: [5, null] }]);
    if (query === 'twice')
      return matrix([
        {
          metric: { id: 'a' },
          values: [
            [0, '1'],
            [0, '2'],
          ],
        },
      ]);
    if (at.pathname !== '/api/v1/query_range') return answer(404, 'not here');
    if (query === 'broken(')
      return answer(400, {
        status: 'error',
        errorType: 'bad_data',
        error: 'parse error: unclosed left parenthesis',
      });
    if (query === 'html') return answer(200, '<html>a login page</html>');
    if (query === 'scalar')
      return answer(200, { status: 'success', data: { resultType: 'scalar', result: [0, '1'] } });
    if (query === 'none')
      return answer(200, { status: 'success', data: { resultType: 'matrix', result: [] } });
    const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(at.searchParams.get(name)));
    const result = [0, 1].map((tenant) => ({
      metric: { tenant: `t${tenant}` },
      values: Array.from({ length: Math.floor((end! - start!) / step!) + 1 }, (_, i) => {
        const atS = start! + i * step!;
        return [atS, i === 3 ? 'NaN' : String(value(atS, tenant))];
      }),
    }));
    answer(200, { status: 'success', data: { resultType: 'matrix', result } });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

describe('skein backtest', LONG, () => {
  it('lists the published scenarios with what is expected of each', async () => {
    const ran = await backtest('--list');
    expect(ran.status).toBe(0);
    for (const name of ['synchronised-starts', 'steady', 'surprises']) expect(ran.stdout).toContain(name);
  });

  it('replays a scenario: verdict, plot, table; the same again as JSON; and a page', async () => {
    const args = [
      '--scenario',
      'synchronised-starts',
      '--days',
      '2',
      '--step',
      '900',
      '--shards',
      '40',
      ...SMALL,
    ];
    const all = ['--policies', 'hpa,predictive,oracle'];
    const page = join(directory, 'report.html');
    const [text, json] = await Promise.all([
      backtest(...args, ...all, '--report', page),
      backtest(...args, ...all, '--json'),
    ]);
    expect(text).toMatchObject({ status: 0, stderr: '' });
    expect(text.stdout).toMatch(/There is something to gain|No gain/);
    expect(text.stdout).toMatch(/predictive +0\.4 /);
    expect(text.stdout).toContain('the same on the true future');
    const report = JSON.parse(json.stdout) as Report;
    expect(report.seeds[0]!.runs).toHaveLength(6);
    expect(report.verdict.text.length).toBeGreaterThan(1);
    for (const line of report.verdict.text) expect(text.stdout).toContain(line);
    const html = readFileSync(page, 'utf8');
    // Three frontiers, the load, the certified gap.
    expect(html.match(/<polyline/g)!.length).toBe(5);
    for (const text of ['Dollars against minutes', 'Certified gap', 'promotions/h', 'no standbys'])
      expect(html).toContain(text);
    expect(text.stdout).toContain('PROMOTIONS/H');
    const { byRound, rounds } = report.seeds[0]!.runs.at(-1)!.certifiedGap!;
    expect(byRound).toHaveLength(rounds);
    expect(html).not.toMatch(/<script|NaN|undefined/);
  });

  it('takes CSV and JSON Lines of one`s own, gzipped too, with origins, regions, state and prices', async () => {
    const lines = Array.from({ length: STEPS }, (_, i) => {
      const atS = START_S + i * STEP_S;
      return `${new Date(atS * 1000).toISOString()},${value(atS, 0)},${value(atS, 1)}`;
    });
    const csv = file('load.csv', `time,a,b\n${lines.join('\n')}\n`);
    const jsonl = file(
      'load.jsonl.gz',
      gzipSync(
        ['a', 'b']
          .map((id, tenant) =>
            JSON.stringify({
              id,
              metric: 'rps',
              step_s: STEP_S,
              t0: START_S,
              v: Array.from({ length: STEPS }, (_, i) => value(START_S + i * STEP_S, tenant)),
            }),
          )
          .join('\n'),
      ),
    );
    const origins = file('origins.csv', 'id,origin\na,eu-west-1\nb,us-east-1\n');
    const more = [
      ...['--shards', '20', '--regions', 'us-east-1,eu-west-1', '--origins', origins, '--state-gb', '1'],
      ...['--node-usd-per-hour', '1', '--node-start', '60', '--standbys', '1', '--json', ...SMALL, ...FEW],
    ];
    const [one, two] = await Promise.all([
      backtest('--traces', csv, ...more),
      backtest('--traces', jsonl, '--metric', 'rps', ...more),
    ]);
    const [first, second] = [one, two].map((ran) => JSON.parse(ran.stdout) as Report);
    expect(first!.seeds).toEqual(second!.seeds);
    expect(first!.shards).toBe(20);
    const run = first!.seeds[0]!.runs[0]!;
    expect(run.usd.nodes).toBeCloseTo((run.nodesMean * run.scoredS) / 3600, 6);
    // Standbys of nodes that were given back are copied, and moves to one are promotions.
    const runs = first!.seeds[0]!.runs;
    expect(runs.every(({ bytesCopied }) => bytesCopied > 0)).toBe(true);
    expect(runs.some(({ promotions }) => promotions > 0)).toBe(true);
    // Both regions have a node at least.
    expect(run.nodesMean).toBeGreaterThanOrEqual(2);
  });

  it('asks Prometheus, in parts where the range is long', async () => {
    asked.length = 0;
    const args = ['--prometheus', url, '--query', 'load', '--start', '2026-01-05T00:00:00Z', '--json'];
    const more = ['--end', String(START_S + 4 * DAY), '--step', '30', '--days', '0.1', ...SMALL];
    const ran = await backtest(...args, ...more, '--policies', 'hpa,oracle');
    expect(ran.stderr).toBe('');
    expect(asked.map((at) => at.searchParams.get('start'))).toEqual([
      String(START_S),
      String(START_S + 300_000),
    ]);
    const report = JSON.parse(ran.stdout) as Report;
    expect(report.stepS).toBe(30);
    expect(report.scenario.name).toBe('load');
    expect(report.shards).toBe(2);
  });
});

describe('bad input', LONG, () => {
  /** In this process, as `main.ts` does it: what it throws is what is printed, and decides the exit status. */
  const refused = async (args: string[], status: number, ...says: (string | RegExp)[]) => {
    const program = makeProgram().exitOverride();
    for (const command of program.commands) command.exitOverride();
    const error = await program.parseAsync(['backtest', ...args], { from: 'user' }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error, args.join(' ')).toBeInstanceOf(CliError);
    for (const text of says) expect(formatError(error)).toMatch(text);
    expect((error as CliError).exitCode).toBe(status);
  };

  it('is told on standard error, with the exit status of the process', async () => {
    const ran = await backtest('--scenario', 'nope');
    expect(ran).toMatchObject({ status: 2, stdout: '' });
    expect(ran.stderr).toContain('skein: there is no scenario "nope"');
    const none = await backtest('--scenario', 'steady', '--threads', '0');
    expect(none).toMatchObject({ status: 2, stdout: '' });
    expect(none.stderr).toContain("option '--threads <count>' argument '0' is invalid");
  });

  it('of the command line ends with 2', async () => {
    await Promise.all([
      refused([], 2, /nothing to replay/, /next: give --scenario NAME/),
      refused(['--scenario', 'nope'], 2, /there is no scenario "nope"/, /synchronised-starts/),
      refused(['--scenario', 'steady', '--policies', 'oracle,magic'], 2, /\$\.policies: expected/),
      refused(['--scenario', 'steady', '--standbys', '0.5'], 2, /\$\.cluster\.standbys: expected a whole/),
      refused(['--scenario', 'real-vm-cpu'], 2, /real trace/, /--traces FILE/),
      refused(['--prometheus', url], 2, /needs --query/),
      refused(['--scenario', 'steady', '--start', '0'], 2, /--start does nothing without --prometheus/),
      refused(['--scenario', 'steady', '--metric', 'cpu'], 2, /--metric does nothing without --traces/),
      // Said before anything is replayed.
      refused(
        ['--scenario', 'steady', '--report', join(directory, 'none', 'r.html')],
        1,
        /cannot write .*r\.html/,
      ),
      refused(
        ['--prometheus', url, '--query', 'load', '--start', 'soon'],
        2,
        /--start: "soon" is not a time/,
      ),
    ]);
  });

  it('of files says file, line and reason', async () => {
    await Promise.all([
      refused(['--traces', join(directory, 'none.csv')], 1, /none\.csv cannot be read/, /ENOENT/),
      refused(
        ['--traces', file('bad.csv', 'time,a\n1,2\n2,x\n')],
        1,
        /bad\.csv, line 3: expected a number for "a"/,
      ),
      refused(
        ['--traces', file('bad.jsonl', '{"id":"a","step_s":60,"v":[1]}\n{"id"\n')],
        1,
        /line 2: not JSON/,
      ),
      refused(
        ['--traces', file('cut.csv.gz', gzipSync('time,a\n0,1\n300,2\n').subarray(0, 20))],
        1,
        /unexpected end of file/,
        /copy it again/,
      ),
      // gzip or not is told by what is in it.
      refused(['--traces', file('plain.csv.gz', 'time,a\n')], 1, /plain\.csv\.gz, line 2: no values/),
      refused(['--traces', file('packed.csv', gzipSync('time,a\n'))], 1, /packed\.csv, line 2: no values/),
      refused(
        ['--traces', ...['x', 'y'].map((name) => file(`${name}.csv`, 'time,a\n0,1\n60,2'))],
        1,
        /"a" is in two files/,
      ),
      refused(
        [
          '--traces',
          file(
            'two.jsonl',
            ['cpu', 'io'].map((metric) => `{"id":"a","step_s":60,"metric":"${metric}","v":[1,2]}`).join('\n'),
          ),
        ],
        1,
        /"a" is there with several metrics/,
        /--metric cpu or --metric io/,
      ),
      // Of so many, each too short: what is said of them is not that the stack is full.
      refused(
        [
          '--traces',
          file(
            'many.jsonl',
            Array.from({ length: 130_000 }, (_, i) => `{"id":"${i}","step_s":60,"v":[1]}`).join('\n'),
          ),
        ],
        1,
        /in common/,
      ),
      refused(['--scenario', file('none.json', '{"name":"x"}')], 1, /names no generator, and no traces/),
      refused(['--traces', file('short.csv', 'time,a\n1,2\n2,2\n3,2\n')], 1, /too few to learn/),
      refused(
        [
          '--traces',
          file('zero.csv', `time,a\n${Array.from({ length: 400 }, (_, i) => `${i * 600},0`).join('\n')}`),
        ],
        1,
        /hold no load/,
      ),
      refused(
        ['--traces', file('mars.csv', 'time,id,value,origin\n1,a,2,mars\n2,a,2,mars\n')],
        2,
        /"mars", which is not one of the regions us-east-1/,
      ),
      refused(['--scenario', file('s.json', '{"shardz":1}')], 1, /\$\.shardz: there is no such parameter/),
    ]);
  });

  it('of Prometheus says what the server said', async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const port = (gone.address() as AddressInfo).port;
    await new Promise((resolve) => gone.close(resolve));
    await Promise.all([
      refused(
        ['--prometheus', url, '--query', 'broken('],
        1,
        /refused the query \(400, bad_data\)/,
        /unclosed left/,
      ),
      refused(['--prometheus', url, '--query', 'html'], 1, /not as Prometheus does/, /a login page/),
      refused(['--prometheus', url, '--query', 'scalar'], 1, /answered a scalar, not a matrix/),
      refused(['--prometheus', url, '--query', 'none'], 1, /no data in the range/),
      refused(
        ['--prometheus', `http://127.0.0.1:${port}`, '--query', 'up'],
        1,
        /did not answer/,
        /ECONNREFUSED/,
      ),
      refused(['--prometheus', 'prometheus:x', '--query', 'up'], 2, /prometheus:x/),
      refused(['--prometheus', url, '--query', 'secret'], 1, /answered 401/, /USER:PASSWORD@HOST/),
      refused(['--prometheus', url, '--query', 'down'], 1, /answered 502/, /try again later/),
      ...['null', 'no row', 'no labels', 'no pairs'].map((query) =>
        refused(['--prometheus', url, '--query', query], 1, /answered 200, and not as Prometheus does/),
      ),
      refused(['--prometheus', url, '--query', 'twice'], 1, /"a" cannot be read/, /two values at the same/),
      refused(
        ['--prometheus', url, '--query', 'load', '--start', '0', '--step', '1'],
        2,
        /more than 10000000 steps of 1 s/,
        /a longer --step/,
      ),
    ]);
  });

  it('of Prometheus is not the lack of a password, which no message shows', async () => {
    const guarded = url.replace('//', '//ada:p%40ss@');
    const range = ['--start', '0', '--end', '600'];
    // The server lets it in: what is refused is how short the load is.
    await refused(['--prometheus', guarded, '--query', 'secret', ...range], 1, /too few/, /^(?!.*p%40ss)/s);
    await refused(['--prometheus', guarded, '--query', 'down'], 1, /answered 502/, /^(?!.*p%40ss)/s);
  });
});
