/** Test plan: a service asked by two handlers; what is shown of a shard names both, of the whole cluster neither. */
import { expect, it } from 'vitest';
import { forecastText } from '../cli/loop.ts';
import { ForecastEngine, type LoadStep } from '../forecast/index.ts';
import type { HandlerLoad } from '../model/load.ts';
import { forecastView } from './forecast-view.ts';
import { LoadHistory } from './load-history.ts';

function step(number: number, handlers: readonly string[]): LoadStep {
  const atMs = number * 10_000;
  const counts = { commands: 0, queries: 10 };
  const costs = { cpuSeconds: 0.01, bytesIn: 100, bytesOut: 100, writeBytes: 0 };
  const sample = { shard: 'room/a', atMs, stepMs: 10_000, ...counts, ...costs, rejected: 0, stateBytes: 9 };
  const mix = handlers.map((handler, i): HandlerLoad => {
    return { service: 'room', handler, requests: i === 0 ? 9 : 1, commands: 0, ...costs };
  });
  return {
    number,
    atMs,
    stepS: 10,
    missingShare: 0,
    shards: [{ ...sample, byOrigin: { here: counts }, censored: false }],
    mix,
  };
}

function shown(handlers: readonly string[], shard?: string) {
  const forecaster = new ForecastEngine();
  const history = new LoadHistory();
  for (let number = 1; number <= 40; number++) {
    forecaster.observe(step(number, handlers));
    history.observe(step(number, handlers));
  }
  const query = shard === undefined ? {} : { shard };
  return forecastView(query, undefined, { forecaster, history, stepS: 10 }, (forecast) => forecast);
}

it('the forecast of a shard shows by which handlers its service is asked, now and ahead', () => {
  const view = shown(['read', 'export'], 'room/a');
  expect(view.mix!.map(({ handler }) => handler)).toEqual(['read', 'export']);
  expect(view.mix![0]!.now).toBeCloseTo(0.9, 2);
  expect(view.mix![1]!.ahead).toHaveLength(view.horizonsS.length);
  expect(forecastText(view)).toMatch(
    /^asked for, now and in 15 min: read 90 % -> \d+ %, export 10 % -> \d+ %$/m,
  );
});

it('says nothing of a mix where there is none to tell', () => {
  for (const view of [shown(['read'], 'room/a'), shown(['read', 'export']), shown([], 'room/a')]) {
    expect(view).not.toHaveProperty('mix');
    expect(forecastText(view)).not.toContain('asked for');
  }
});
