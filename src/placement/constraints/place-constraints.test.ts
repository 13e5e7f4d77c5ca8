/** Test plan: the constraints written out against their list, with each of them refusing somewhere on a drawn problem. */
import { expect, it } from 'vitest';
import { generateInstance, ProblemBuilder } from '../index.ts';
import { SeededDraws } from '../instance/random.ts';
import { allAllow, PLACE_CONSTRAINTS } from './place-constraints.ts';

it('all allow what every one of the list allows', () => {
  const { header, shards } = generateInstance({
    seed: 3,
    shards: 60,
    nodes: 24,
    regions: 6,
    utilisation: 0.5,
  });
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) builder.add(shard);
  const { problem } = builder.build();
  const { nodeCount, width } = problem;
  const draws = new SeededDraws('constraints');
  problem.buildReads = new Uint8Array(2 * nodeCount).fill(1);
  for (let n = 0; n < nodeCount; n++) {
    if (draws.next() < 0.2) problem.open[n] = 0;
    if (draws.next() < 0.2) problem.draining[n] = 1;
    if (draws.next() < 0.5) problem.buildReads[nodeCount + n] = 0;
  }
  for (let s = 0; s < problem.shardCount; s++) {
    problem.start[s * width] = draws.below(nodeCount);
    if (draws.next() < 0.2) problem.pinnedTo[s] = draws.below(nodeCount);
    if (draws.next() < 0.2) problem.saturating[s] = 1;
    problem.buildClass[s] = draws.below(2);
  }
  const only = new Map(PLACE_CONSTRAINTS.map(({ name }) => [name, 0]));
  for (let s = 0; s < problem.shardCount; s++)
    for (let n = 0; n < nodeCount; n++)
      for (const standby of [false, true]) {
        const refusing = PLACE_CONSTRAINTS.filter((constraint) => !constraint.allows(problem, s, n, standby));
        expect(allAllow(problem, s, n, standby)).toBe(refusing.length === 0);
        if (refusing.length === 1) only.set(refusing[0]!.name, only.get(refusing[0]!.name)! + 1);
      }
  for (const count of only.values()) expect(count).toBeGreaterThan(0);
});
