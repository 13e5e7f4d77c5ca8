/** A model of one's own where the controller has it: beside the engine's experts, in a thread of its own. */
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { BatchExpert } from '../forecast/index.ts';
import { engineForecaster } from '../forecast/index.ts';
import type { LoadStep } from '../metrics/step.ts';
import { loadExperts } from './expert-modules.ts';

const MODEL = join(import.meta.dirname, '../../training/example/own-model.onnx');

function step(number: number): LoadStep {
  const commands = 20 + 5 * Math.sin(number / 3);
  const byOrigin = { 'us-east-1': { commands, queries: 0 } };
  const sample = {
    shard: 'room/a',
    atMs: number * 1000,
    stepMs: 1000,
    commands,
    queries: 0,
    rejected: 0,
    byOrigin,
  };
  const cost = { cpuSeconds: 0.1, stateBytes: 1, bytesIn: 1, bytesOut: 1, writeBytes: 1, censored: false };
  return { number, atMs: number * 1000, stepS: 1, shards: [{ ...sample, ...cost }], missingShare: 0 };
}

describe('a model of one’s own in the controller', () => {
  let experts: (BatchExpert & { close?: () => Promise<void> })[] = [];
  afterEach(async () => {
    for (const expert of experts) await expert.close?.();
    experts = [];
  });

  it('is read with its description, asked, and part of what is foreseen', async () => {
    experts = await loadExperts({ network: false, modelFile: MODEL });
    expect(experts.map(({ name }) => name)).toEqual(['own-model.onnx']);
    let asked = 0;
    const watched: BatchExpert = {
      ...experts[0]!,
      forecast: (...batch) => {
        asked++;
        experts[0]!.forecast(...batch);
      },
    };
    const alone = engineForecaster();
    const both = engineForecaster({ experts: [watched] });
    for (let number = 1; number <= 40; number++)
      for (const engine of [alone, both]) engine.observe(step(number));
    expect(asked).toBeGreaterThan(10);
    const [without, with_] = [alone, both].map((engine) => engine.total([4]).p50[0]!);
    expect(with_).toBeGreaterThan(0);
    expect(with_).not.toBe(without);
  }, 30_000);

  it('that is missing is named, with what is needed', async () => {
    await expect(loadExperts({ network: false, modelFile: '/nonexistent/a.onnx' })).rejects.toThrow(
      /\/nonexistent\/a\.onnx cannot be used.*contextSteps/,
    );
  });
});
