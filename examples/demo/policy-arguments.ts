/** What the controller must be told for each policy under the demo's load. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** In the data directory of a run, once its load has begun: the load's time zero, Unix milliseconds. */
export const STARTED_FILE = 'started.json';
/** Seconds after which a request weighs half for `reactive`: the best of `bench/loop.ts --tune` on another seed. */
export const REACTIVE_HALF_LIFE_S = 64;

const ORACLE = fileURLToPath(new URL('./oracle.ts', import.meta.url));

export function policyArguments(
  policy: string,
  load: { seed: string; ratePerSecond: number; dayS: number; alpha: number },
  dataDirectory: string,
): string[] {
  if (policy === 'reactive') return ['--half-life-s', String(REACTIVE_HALF_LIFE_S)];
  if (policy === 'bestFixed') return ['--learn-s', String(Math.round(2 * load.dayS))];
  if (policy !== 'oracle') return [];
  const query = new URLSearchParams({
    seed: load.seed,
    rate: String(load.ratePerSecond),
    day: String(load.dayS),
    alpha: String(load.alpha),
    started: join(dataDirectory, STARTED_FILE),
  });
  return ['--oracle', `${ORACLE}?${query}`];
}
