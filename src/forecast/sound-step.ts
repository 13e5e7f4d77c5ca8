/**
 * A closed step whose numbers can be learnt from, whoever made it. `LoadWindows` makes no others; a step of one's own may
 * hold what a broken meter says, and one NaN would stay in every mean for good.
 *
 * Boundary: pure. Invariant: a sound step is given back as it is.
 */
import type { LoadStep } from '../metrics/step.ts';
import type { LoadSample } from '../model/load.ts';
import { VALUE_READ_MAX } from './bank/bank.ts';

const COUNTS = [
  'commands',
  'queries',
  'cpuSeconds',
  'stateBytes',
  'bytesIn',
  'bytesOut',
  'writeBytes',
] as const;

/**
 * @returns undefined for a step without a number of its own
 * @throws {RangeError} for a step without a length: that is no reading, but a mistake of the program
 */
export function soundStep(step: LoadStep): LoadStep | undefined {
  if (!(step.stepS > 0 && step.stepS < Number.POSITIVE_INFINITY))
    throw new RangeError(`a step lasts some seconds, not ${step.stepS}`);
  if (!Number.isFinite(step.number)) return undefined;
  const missingShare = step.missingShare > 0 ? Math.min(1, step.missingShare) : 0;
  const mix = step.mix?.filter(({ requests, commands, cpuSeconds, bytesIn, bytesOut, writeBytes }) =>
    [requests, commands, cpuSeconds, bytesIn, bytesOut, writeBytes].every(isCount),
  );
  const isSound =
    missingShare === step.missingShare &&
    mix?.length === step.mix?.length &&
    step.shards.every(isSoundSample);
  return isSound ? step : { ...step, missingShare, mix, shards: step.shards.map(sound) };
}

function isCount(value: number): boolean {
  return value >= 0 && value <= VALUE_READ_MAX;
}

function isSoundSample(sample: LoadSample): boolean {
  for (const name of COUNTS) if (!isCount(sample[name])) return false;
  for (const origin in sample.byOrigin) {
    const { commands, queries } = sample.byOrigin[origin]!;
    if (!isCount(commands) || !isCount(queries)) return false;
  }
  return true;
}

function sound(sample: LoadSample): LoadSample {
  if (isSoundSample(sample)) return sample;
  const count = (value: number) => (isCount(value) ? value : 0);
  const found = { ...sample };
  for (const name of COUNTS) found[name] = count(sample[name]);
  found.byOrigin = Object.fromEntries(
    Object.entries(sample.byOrigin).map(([origin, { commands, queries }]) => [
      origin,
      { commands: count(commands), queries: count(queries) },
    ]),
  );
  return found;
}
