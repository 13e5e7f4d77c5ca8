/**
 * How far CPU forecasts are off where the rate is level and the mix of handlers is not, with the mix told and without.
 *
 * Errors are mean absolute ones as shares of the truth, over the last two of seven days: of all rooms as one, summed over
 * single rooms, and of what is said in the half hour before the evening begins an hour later. In the second half of the
 * table a quarter of the rooms have all of the exports.
 *
 * Run: node --conditions=skein-source bench/forecast-mix.ts [--seeds a,b] [--step 600]
 */
import { parseArgs } from 'node:util';
import { engineForecaster } from '../src/forecast/index.ts';
import { MixLoad, withoutMix } from '../test/scenarios/mix-load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: 'm1,m2' }, step: { type: 'string', default: '600' } },
});
const stepS = Number(values.step);
const dayS = 86_400;
const ROOMS = 16;
const AHEAD_S = 3600;

console.log(formatMachine(machineFacts()));
for (const exporters of [ROOMS, ROOMS / 4])
  for (const seed of values.seeds.split(',')) {
    const load = new MixLoad({ seed, stepS, rooms: ROOMS, rate: 4, exporters });
    const engines = { told: engineForecaster(), untold: engineForecaster() };
    const errors = { told: [0, 0, 0], untold: [0, 0, 0] };
    const truths = [0, 0, 0];
    for (let number = 1; number * stepS <= 7 * dayS; number++) {
      const step = load.step(number);
      engines.told.observe(step);
      engines.untold.observe(withoutMix(step));
      if (number * stepS <= 5 * dayS) continue;
      const then = number + AHEAD_S / stepS;
      const hour = ((number * stepS) % dayS) / 3600;
      const isDusk = hour >= 17.4 && hour < 17.95;
      const total = load.total(then);
      truths[0]! += total;
      truths[1]! += total;
      if (isDusk) truths[2]! += total;
      for (const [name, engine] of Object.entries(engines)) {
        const sums = errors[name as keyof typeof errors];
        const error = Math.abs(engine.aggregate!(load.ids, [AHEAD_S]).metrics.cpu.quantiles[0][0]! - total);
        sums[0]! += error;
        if (isDusk) sums[2]! += error;
        engine.forecast(load.ids, [AHEAD_S]).forEach(({ metrics }, room) => {
          sums[1]! += Math.abs(metrics.cpu.quantiles[0][0]! - load.cpu(room, then));
        });
      }
    }
    for (const [name, sums] of Object.entries(errors)) {
      const [all, single, dusk] = sums.map((sum, i) => `${((100 * sum) / truths[i]!).toFixed(0)} %`);
      console.log(
        `${exporters} of ${ROOMS} rooms export, seed ${seed}, mix ${name}: all ${all}, single rooms ${single}, at dusk ${dusk}`,
      );
    }
  }
