/** What cannot be kept is named with its constraint, its shards and what would help; and only that is. */
import { describe, expect, it } from 'vitest';
import { ProblemBuilder } from '../instance/build.ts';
import { generateInstance } from '../instance/generate.ts';
import type { InstanceHeader, InstanceShard } from '../instance/types.ts';
import { check } from './check.ts';
import { movesOf } from './objective.ts';
import { solve } from './solve.ts';

const generated = generateInstance({
  shards: 12,
  nodes: 6,
  regions: 2,
  standbys: 1,
  utilisation: 0.2,
  seed: 3,
});

type Change = (header: InstanceHeader, shards: InstanceShard[]) => void;

function solved(change: Change) {
  const header = structuredClone(generated.header);
  const shards = structuredClone([...generated.shards()]);
  change(header, shards);
  const builder = new ProblemBuilder(header);
  for (const shard of shards) builder.add(shard);
  const { problem, names } = builder.build();
  const result = solve(problem, { budget: { annealSteps: 0, annealStepsWarm: 0 } });
  return { problem, result, header, shards, checked: check(problem, names, result.place) };
}

const each =
  (use: (node: InstanceHeader['nodes'][number], i: number) => void): Change =>
  ({ nodes }) =>
    nodes.forEach(use);

describe('a placement that cannot be', () => {
  it.each([
    ['cordoned', each((node) => (node.cordoned = true)), /goes only to a node that is open.*add or open/],
    ['draining', each((node) => (node.draining = true)), /leaves a node that is draining/],
    [
      'jurisdiction',
      (header, [shard]) => {
        shard!.allowedRegions = [header.regions[0]!];
        header.nodes = header.nodes.filter(({ region }) => region !== header.regions[0]);
      },
      /stays in the regions its service allows: add or open a node that may/,
    ],
    [
      'version',
      (header, [shard]) => {
        shard!.version = 2;
        for (const node of header.nodes) node.versions = { bench: 1 };
      },
      /the build reads its state version/,
    ],
    [
      // Both reasons: opening the node it is pinned to is what helps.
      'pinned',
      (header, [shard]) => {
        shard!.pinnedTo = header.nodes[0]!.id;
        header.nodes[0]!.cordoned = true;
      },
      /pinned it to \(5 nodes\), and goes only to a node that is open.*\(1 node\)/,
    ],
    [
      'spread',
      (_header, [shard]) => Object.assign(shard!, { standbys: 2, spread: 'region' }),
      /all in a region that another of its replicas is in.*fewer standbys/,
    ],
    [
      // Not a lack of zones: it is left as it is.
      'in-flight or quarantined',
      (_header, [shard]) => Object.assign(shard!, { quarantined: true }),
      /left as it is until its migration ends or it is released/,
    ],
    [
      'capacity',
      (_header, [shard]) => {
        for (const step of shard!.load) step.cpu = [5, 0];
      },
      /a larger node: bench\/0 alone needs 250 % of the largest/,
    ],
    [
      // Its mean is small: what is beyond full is the quantile.
      'capacity',
      (header, shards) => {
        header.nodes = header.nodes.slice(0, 2);
        for (const shard of shards) {
          delete shard.allowedRegions;
          for (const step of shard.load) step.cpu = [0.001, 1];
        }
      },
      /more cpu where its shards may go .*its largest are bench\/\d+, bench\/\d+, bench\/\d+$/,
    ],
  ] as [string, Change, RegExp][])('names %s and what would help', (constraint, change, remedy) => {
    const { checked, shards, header } = solved(change);
    expect(checked.feasible).toBe(false);
    const [violation] = checked.violations;
    expect(violation).toMatchObject({ constraint, remedy: expect.stringMatching(remedy) });
    const ids = [...shards, ...header.nodes].map(({ id }) => id);
    for (const example of violation!.examples) expect(ids).toContain(example);
  });

  it('is not seen where there is none, and what was nowhere is placed, not moved', () => {
    const { checked, result, problem, shards } = solved((_header, [shard]) => {
      shard!.primary = generated.header.nodes[0]!.id;
    });
    expect(checked.violations).toEqual([]);
    const { moved, promoted } = movesOf(problem, result.place);
    expect(shards.length).toBeGreaterThan(2);
    expect(moved + promoted).toBeLessThanOrEqual(2);
  });
});
