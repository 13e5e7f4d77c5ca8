/** `skein forecast run` and `backtest` as a user runs them: files in, lines out, bad lines named, exit status. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'skein-forecast-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const main = join(import.meta.dirname, 'main.ts');

function skein(args: string[], input?: string): Promise<{ status: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--conditions=skein-source', main, 'forecast', ...args],
      { maxBuffer: 1 << 26 },
      (error, out, err) => {
        resolve({ status: typeof error?.code === 'number' ? error.code : 0, out, err });
      },
    );
    child.stdin?.end(input ?? '');
  });
}

const series = (id: string, steps = 200) =>
  JSON.stringify({
    id,
    t0: 1_000_000,
    step_s: 3600,
    v: Array.from({ length: steps }, (_, i) => 10 + 5 * Math.sin((2 * Math.PI * i) / 24)),
  });

// Each starts a process of its own, slow where the machine is busy.
vi.setConfig({ testTimeout: 180_000 });

describe('skein forecast run', () => {
  it('answers each line of standard input in order, and names a bad one without stopping', async () => {
    const { status, out, err } = await skein(
      ['run', '--input', '-', '--horizon', '3', '--quantiles', '0.5,0.9', '--max-over', '2,3'],
      `${series('a')}\n{"id":"broken"}\n\n${series('b')}`,
    );
    expect(status).toBe(1);
    expect(err).toContain('line 2: "step_s"');
    const [a, b] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(a.id).toBe('a');
    expect(b.id).toBe('b');
    expect(a.t0).toBe(1_000_000 + 200 * 3600);
    expect(a.step_s).toBe(3600);
    expect(Object.keys(a.quantiles)).toEqual(['0.5', '0.9']);
    expect(a.quantiles['0.5']).toHaveLength(3);
    expect(Object.keys(a.max)).toEqual(['2', '3']);
    expect(a.max['3']['0.9']).toBeGreaterThanOrEqual(a.max['3']['0.5']);
    expect(a.quantiles['0.5'][0]).toBeCloseTo(10 + 5 * Math.sin((2 * Math.PI * 200) / 24), 0);
  });

  it('takes covariates, events, counters and times of their own', async () => {
    const steps = 240;
    const rain = Array.from({ length: steps + 6 }, (_, t) => ((Math.floor(t / 5) * 7 + 3) % 4 === 0 ? 1 : 0));
    const load = (t: number) => (10 + 5 * Math.sin((2 * Math.PI * t) / 24)) * (rain[t] ? 0.5 : 1);
    const v = Array.from({ length: steps }, (_, t) => load(t));
    const at = (t: number) => 1_000_000 + 3600 * t;
    const lines = [
      { id: 'plain', t0: at(0), step_s: 3600, v },
      { id: 'rain', t0: at(0), step_s: 3600, v, covariates: { rain } },
      {
        id: 'event',
        t0: at(0),
        step_s: 3600,
        v,
        events: [{ label: 'x', from: at(242), to: at(243), factor: 4 }],
      },
      { id: 'times', t: v.map((_, t) => at(t) + (t % 3)), v },
      {
        id: 'counter',
        t0: at(0),
        step_s: 3600,
        kind: 'counter',
        v: v.map((_, t) => v.slice(t - (t % 50), t + 1).reduce((a, b) => a + b, 0)),
      },
      { id: 'short', t0: at(0), step_s: 3600, v, covariates: { rain: [1] } },
    ];
    const { status, out, err } = await skein(
      ['run', '--input', '-', '--horizon', '6', '--experts-only'],
      lines.map((line) => JSON.stringify(line)).join('\n'),
    );
    expect(status).toBe(1);
    expect(err).toContain('line 6: covariate "rain" holds 1 values for 240 steps');
    const found = new Map(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { id: string; t0: number; quantiles: Record<string, number[]> })
        .map((answer) => [answer.id, answer]),
    );
    const p50 = (id: string) => found.get(id)!.quantiles['0.5']!;
    const error = (id: string) =>
      p50(id).reduce((sum, value, h) => sum + Math.abs(value - load(steps + h)), 0);
    expect(error('rain')).toBeLessThan(0.7 * error('plain'));
    expect(p50('event')[2]! / p50('plain')[2]!).toBeCloseTo(4, 1);
    expect(p50('event')[1]!).toBe(p50('plain')[1]!);
    expect(found.get('times')!.t0).toBeCloseTo(at(240), -2);
    p50('counter').forEach((value, h) => {
      expect(Math.abs(value / p50('plain')[h]! - 1)).toBeLessThan(0.25);
    });
  });

  it('falls back to seasonal naive where that was clearly better, and says so', async () => {
    // Each hour of an irregular day stays as it is for some ten days: yesterday says more than any mean.
    let seed = 9009;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const hours = Array.from({ length: 24 }, () => 10 + 90 * random());
    const v = Array.from({ length: 2000 }, (_, t) => {
      if (random() < 0.1) hours[t % 24] = 10 + 90 * random();
      return hours[t % 24]!;
    });
    const { status, out, err } = await skein(
      ['run', '--input', '-', '--horizon', '60', '--experts-only'],
      `${JSON.stringify({ id: 'hours', t0: 0, step_s: 3600, v })}\n${series('calm', 1200)}`,
    );
    expect(status).toBe(0);
    const [hourly, calm] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(hourly.fallsBack.map(({ ahead }: { ahead: number }) => ahead)).toEqual([8, 60]);
    expect(hourly.fallsBack[0].lossAgainstNaive).toBeGreaterThan(1.15);
    expect(calm).not.toHaveProperty('fallsBack');
    expect(err).toMatch(
      /^series hours: falls back to seasonal naive.* 8 to 59 steps ahead \(\d\.\d\d times its loss\), 60 steps/,
    );
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  it('reads gzip and writes a file', async () => {
    const [input, output] = [join(folder, 'in.gz'), join(folder, 'out.jsonl')];
    writeFileSync(input, gzipSync(`${series('a')}\n${series('short', 1)}\n${series('none', 0)}\n`));
    const { status } = await skein(['run', '--input', input, '--horizon', '2', '--output', output]);
    expect(status).toBe(0);
    const lines = readFileSync(output, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map((line) => line.id)).toEqual(['a', 'short', 'none']);
    expect(lines[2].quantiles['0.99']).toEqual([0, 0]);
  });

  it('says what is wrong with a file or an option', async () => {
    const missing = await skein(['run', '--input', join(folder, 'nowhere'), '--horizon', '2']);
    expect(missing.status).toBe(1);
    expect(missing.err).toContain('no such file');
    const level = await skein(['run', '--input', '-', '--horizon', '2', '--quantiles', '0.5,1e-300']);
    expect(level.status).toBe(2);
    expect(level.err).toContain('Write up to 99 levels between 0 and 1');
    writeFileSync(join(folder, 'cut.gz'), gzipSync(series('a')).subarray(0, 60));
    const cut = await skein(['run', '--input', join(folder, 'cut.gz'), '--horizon', '2']);
    expect(cut.status).toBe(1);
    expect(cut.err).toContain('cut off');
  });
});

describe('skein forecast backtest', () => {
  it('scores the engine against seasonal naive, as a table and as JSON', async () => {
    const lines = `${series('svc/rate', 300)}\n${series('svc/cpu', 300)}\n${series('x/cpu', 5)}`;
    const table = await skein(['backtest', '--input', '-', '--horizon', '24'], lines);
    expect(table.status).toBe(0);
    expect(table.out).toMatch(/cpu .*\n.*rate .*\n.*all/);
    const { out } = await skein(
      ['backtest', '--input', '-', '--horizon', '24', '--origins', '2', '--json'],
      lines,
    );
    const found = JSON.parse(out);
    expect(found).toMatchObject({ horizon: 24, origins: 2, series: 2, skipped: 1, bad: 0 });
    const all = found.scores.find((row: { metric: string }) => row.metric === 'all');
    expect(all.engine.forecasts).toBe(4);
    expect(all.engine.mase).toBeGreaterThanOrEqual(0);
    expect(all.naive.coverage).toHaveLength(3);
  });
});
