/**
 * Test plan: take every rule of ownership out, one at a time, and show that a checker notices: with the rule left out
 * the run breaks a promise, and with it the very same run breaks none. The page that tells of it holds the same rows,
 * and nothing that starts from the command line can leave a rule out.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Mutation } from '../../src/model/mutations.ts';
import { simulateTally } from '../../src/sim/simulate.ts';
import { PROOFS } from './mutations.ts';

Error.stackTraceLimit = 0;
const root = join(import.meta.dirname, '../..');
const text = (path: string) => readFileSync(join(root, path), 'utf8');

/** A change of the product changes what chance does: then one of the next seeds must show it. */
const SEEDS_TRIED = 6;

describe.each(PROOFS)('$rule', ({ mutation, seenAs, options }) => {
  it(`left out (${mutation}), it is seen; kept, nothing is wrong`, { timeout: 300_000 }, async () => {
    const others: string[] = [];
    for (let tried = 0; tried < SEEDS_TRIED; tried++) {
      const seed = Number(options.seed) + tried;
      const broken = await simulateTally({ ...options, seed, mutations: [mutation] });
      const rules = broken.violations.map(({ rule }) => rule);
      others.push(...rules);
      if (!rules.some((rule) => seenAs.includes(rule))) continue;
      const whole = await simulateTally({ ...options, seed });
      expect(whole.violations).toEqual([]);
      expect(whole.acknowledged).toBeGreaterThan(100);
      return;
    }
    expect.fail(`not seen as ${seenAs.join(' or ')} in ${SEEDS_TRIED} seeds, only as: ${others.join(', ')}`);
  });
});

describe('the switches', () => {
  const named = [...text('src/model/mutations.ts').matchAll(/^ {2}\| '([a-z-]+)'/gm)].map(
    ([, name]) => name as Mutation,
  );

  it('each have a proof, and a row in the documentation with its seed and what sees it', () => {
    expect(PROOFS.map(({ mutation }) => mutation).toSorted()).toEqual(named.toSorted());
    const page = text('docs/simulation.md');
    for (const { mutation, rule, seenAs, options } of PROOFS) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${mutation}\` |`));
      expect(row, mutation).toBeDefined();
      const cells = row!.split('|').map((cell) => cell.trim());
      expect(cells[2]).toBe(rule);
      expect(cells[3]).toBe(String(options.seed));
      expect(cells[5]).toBe(seenAs.join(' or '));
    }
  });

  it('are asked for somewhere, and given by nobody but the simulated world', () => {
    const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.ts') && !path.endsWith('.test.ts'),
    );
    const outside = files.filter((path) => !path.startsWith('sim/') && path !== 'model/mutations.ts');
    const source = [...outside, 'sim/cluster.ts'].map((path) => text(`src/${path}`)).join('\n');
    for (const name of named) expect(source, name).toContain(`mutations?.has('${name}')`);
    // Whoever starts a process makes neither a node nor a cell with them.
    const starters = outside.filter((path) => /^(?:cli|supervisor|api)\/|\/process\.ts$/.test(path));
    expect(starters.length).toBeGreaterThan(10);
    for (const path of starters) expect(text(`src/${path}`), path).not.toMatch(/mutation/i);
    // A set is made in one place.
    const makers = files.filter((path) => /new Set\(options\.mutations\)/.test(text(`src/${path}`)));
    expect(makers).toEqual(['sim/simulate.ts']);
  });
});
