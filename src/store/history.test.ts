import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChangeEvent, History } from './history.ts';

const deletion = (revision: number): ChangeEvent => ({ type: 'delete', key: `k${revision}`, revision });

describe('history', () => {
  it('gives what came after a revision while it has all of it, and nothing otherwise', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5 }),
        fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        (start, steps, eventsMax) => {
          const history = new History(start, eventsMax);
          const all: ChangeEvent[] = [];
          let revision = start + 1;
          for (const step of steps) {
            revision += step;
            const event = deletion(revision);
            all.push(event);
            history.push(event);
          }
          const kept = all.slice(-eventsMax);
          const floor = all.length > kept.length ? all.at(-kept.length - 1)!.revision : start;
          expect(history.floor).toBe(floor);
          for (let from = 0; from <= revision + 1; from++) {
            const wanted = from < floor ? undefined : all.filter((event) => event.revision > from);
            expect(history.after(from)).toEqual(wanted);
          }
        },
      ),
    );
  });

  it('is bounded in bytes', () => {
    const history = new History(0, 1000, 10_000);
    for (let revision = 1; revision <= 100; revision++) {
      const value = 'x'.repeat(1000);
      history.push({ type: 'put', entry: { key: 'k', value, version: revision }, revision });
    }
    expect(history.floor).toBeGreaterThan(85);
    expect(history.after(history.floor)!.length).toBe(100 - history.floor);
  });
});
