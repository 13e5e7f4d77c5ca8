/**
 * Test plan: half of the three hundred seeds that every run of the tests takes; see `simulation.test.ts`. Two files,
 * so that two workers share them.
 */
import { it } from 'vitest';
import { runSeed, SEEDS } from './seeds.ts';

const half = Array.from({ length: SEEDS / 2 }, (_, i) => 2 + 2 * i);

it.each(half)('seed %s', { timeout: 300_000 }, runSeed);
