/**
 * The demo's load as the `oracle` policy is told it: the true rates, flash crowds included. What a planner could do
 * that knew the future; nobody does.
 *
 *   skein controller --policy oracle --oracle 'examples/demo/oracle.ts?seed=1&rate=300&day=30&alpha=1&started=FILE'
 *
 * FILE holds the Unix milliseconds of the load's time zero and may appear after the controller has started.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { OracleSource } from '../../src/forecast/oracle.ts';
import { COMMAND_SHARE, FLASH_HEIGHT, flashProfile, LoadFormula } from './load-formula.ts';

const parameters = new URL(import.meta.url).searchParams;
const startedFile = parameters.get('started') ?? '';
const formula = new LoadFormula({
  seed: parameters.get('seed') ?? '1',
  ratePerSecond: Number(parameters.get('rate') ?? 300),
  dayS: Number(parameters.get('day') ?? 60),
  alpha: Number(parameters.get('alpha') ?? 1),
});
const flashes = formula.flashCrowds(10_000);
let startedAtMs: number | undefined;

function timeS(atMs: number): number | undefined {
  if (startedAtMs === undefined && existsSync(startedFile))
    startedAtMs = Number(readFileSync(startedFile, 'utf8'));
  return startedAtMs === undefined ? undefined : (atMs - startedAtMs) / 1000;
}

function flash(key: number | undefined, origin: number | undefined, seconds: number): number {
  const day = seconds / formula.dayS;
  let rate = 0;
  for (const crowd of flashes) {
    if (crowd.fromDay > day) break;
    if ((key === undefined || crowd.key === key) && (origin === undefined || crowd.origin === origin))
      rate += FLASH_HEIGHT * formula.ratePerSecond * flashProfile(day - crowd.fromDay);
  }
  return rate;
}

export const oracle: OracleSource = {
  rates(shard, atMs) {
    const key = Number(shard.slice(shard.indexOf('/') + 2));
    const seconds = timeS(atMs);
    return Object.fromEntries(
      formula.regions.map((region, origin) => {
        const rate =
          seconds === undefined ? 0 : formula.rate(key, origin, seconds) + flash(key, origin, seconds);
        return [region, { commands: rate * COMMAND_SHARE, queries: rate * (1 - COMMAND_SHARE) }];
      }),
    );
  },
  cost: () => ({ cpuSeconds: 0.0001, bytesIn: 200, bytesOut: 300, stateBytes: 2_000 }),
  totalRate(atMs) {
    const seconds = timeS(atMs);
    if (seconds === undefined) return 0;
    let rate = flash(undefined, undefined, seconds);
    for (let key = 0; key < formula.keys; key++)
      for (let origin = 0; origin < formula.regions.length; origin++)
        rate += formula.rate(key, origin, seconds);
    return rate;
  },
};
