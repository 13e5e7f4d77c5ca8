/** Heads that surge in the same steps, though no name tells. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../io/random.ts';
import { HEADS_MAX, PAIRS_MAX, SURGING_MAX, Surges } from './surges.ts';

/** Every cause surges in one of fifty steps; each of its heads joins nine times in ten, and surges alone in one of two hundred. */
function heard(causes: readonly (readonly string[])[], steps: number, seed = 's1'): Surges {
  const random = new SeededRandom(seed);
  const surges = new Surges();
  for (let step = 0; step < steps; step++) {
    for (const heads of causes) {
      const isOn = random.next() < 1 / 50;
      for (const head of heads) {
        const joins = isOn && random.next() < 0.9;
        surges.hear(head, joins || random.next() < 1 / 200 ? 3 + random.next() : random.next());
      }
    }
    surges.endStep();
  }
  return surges;
}

const BACKUP = ['room/a', 'room/f', 'room/k'];
const SALE = ['cart/3', 'cart/7'];

describe('heads that surge together', () => {
  it('are clustered by what came of them, and nobody else with them', () => {
    const alone = Array.from({ length: 60 }, (_, i) => [`tenant/${i}`]);
    const surges = heard([BACKUP, SALE, ...alone], 4000);
    for (const head of BACKUP) expect(surges.clusterOf(head)).toEqual({ name: 'room/a', heads: BACKUP });
    for (const head of SALE) expect(surges.clusterOf(head)?.heads).toEqual(SALE);
    for (const [head] of alone) expect(surges.clusterOf(head!)).toBeUndefined();
    expect(surges.cosine('room/a', 'room/k')).toBeGreaterThan(0.5);
    expect(surges.cosine('room/a', 'cart/3')).toBeLessThan(0.1);
    expect(surges.cosine('room/a', 'room/a')).toBe(0);
  });

  it('are taken for each their own while it happened once, and after they parted', () => {
    const surges = new Surges();
    surges.hear('a', 2);
    surges.hear('b', 2);
    surges.endStep();
    expect(surges.clusterOf('a')).toBeUndefined();
    const parted = heard([SALE], 2000);
    expect(parted.clusterOf('cart/3')).toBeDefined();
    for (let step = 0; step < 12_000; step++) {
      if (step % 50 === 0) parted.hear(SALE[(step / 50) % 2]!, 3);
      parted.endStep();
    }
    expect(parted.clusterOf('cart/3')).toBeUndefined();
  });

  it('are not chained: who meets one of a cluster only does not join it', () => {
    const many = ['a', 'b', 'c', 'd', 'e'];
    const surges = new Surges();
    for (let step = 0; step < 600; step++) {
      const heads = [[...many, 'both'], ['both', 'z'], [...many, 'both'], []][step % 4]!;
      for (const head of heads) surges.hear(head, 3);
      surges.endStep();
    }
    expect(surges.cosine('both', 'z')).toBeGreaterThan(0.5);
    expect(surges.clusterOf('a')?.heads).toEqual([...many, 'both'].sort());
    expect(surges.clusterOf('z')).toBeUndefined();
  });

  it('are known as well after a restart, and go on alike', () => {
    const before = heard([BACKUP, SALE], 1500);
    const after = new Surges();
    after.load(JSON.parse(JSON.stringify(before.save())));
    for (const surges of [before, after])
      for (let step = 0; step < 40; step++) {
        if (step % 20 === 0) for (const head of SALE) surges.hear(head, 2);
        surges.endStep();
      }
    for (const [a, b] of [SALE, ['room/a', 'room/f']])
      expect(after.cosine(a!, b!)).toBeCloseTo(before.cosine(a!, b!), 9);
    expect(after.clusterOf('room/f')).toEqual(before.clusterOf('room/f'));
  });

  it('are bounded: in heads, in pairs of a step and in all; a drop, nothing and NaN are no surge', () => {
    const surges = new Surges();
    for (const surprise of [-9, 0, 1, Number.NaN]) surges.hear('quiet', surprise);
    surges.endStep();
    expect(surges.save().heads).toEqual([]);
    for (let i = 0; i < HEADS_MAX - 1; i++) surges.hear(`h${i}`, 2 + (i % 97) / 100);
    surges.endStep();
    expect(surges.save().heads).toHaveLength(HEADS_MAX - 1);
    expect(surges.save().pairs.length).toBe((SURGING_MAX * (SURGING_MAX - 1)) / 2);
    const random = new SeededRandom('many');
    for (let step = 0; step < 60; step++) {
      for (let i = 0; i < SURGING_MAX; i++) surges.hear(`h${Math.floor(random.next() * HEADS_MAX)}`, 2);
      surges.endStep();
    }
    expect(surges.save().pairs.length).toBeLessThanOrEqual(PAIRS_MAX);
    // Who comes when all places are taken finds one: those that surged least are forgotten, those that surge together are not.
    const known = surges.cosine('h96', 'h193');
    expect(known).toBeGreaterThan(0);
    for (let step = 0; step < 200; step++) {
      if (step % 10 === 0) for (const head of ['late', 'later']) surges.hear(head, 4);
      for (let i = 0; i < 30; i++) surges.hear(`new${30 * step + i}`, 1.6);
      surges.endStep();
      expect(surges.save().heads.length).toBeLessThan(HEADS_MAX);
    }
    expect(surges.clusterOf('late')?.heads).toContain('later');
    expect(surges.cosine('h96', 'h193')).toBeCloseTo(known, 1);
  });
});
