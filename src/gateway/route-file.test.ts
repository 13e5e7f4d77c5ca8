import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../model/records.ts';
import { type Route, RouteTable } from '../routing/route-table.ts';
import { decodeRoutes, encodeRoutes } from './route-file.ts';

const node = { processId: 'n.1', name: 'n', services: {} } as unknown as NodeRecord;
const encode = (routes: [string, Route][]) => Buffer.concat([...encodeRoutes(routes, [node], 42)]);
const route = fc.record(
  {
    epoch: fc.nat(),
    primary: fc.constantFrom('n.1', 'm.2'),
    cell: fc.constantFrom('c1', 'c2'),
    version: fc.nat(),
    standbys: fc.array(fc.constantFrom('o.1', 'p.2', 'n.1'), { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['epoch', 'primary', 'cell', 'version'] },
);

describe('the file of routes', () => {
  it('gives back nodes and routes in their order of use', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.string(), route), { selector: ([shard]) => shard }),
        (routes) => {
          const table = new RouteTable({ assignmentsMax: 10_000 });
          expect(decodeRoutes(encode(routes), table)).toBe(42);
          expect([...table.routes()]).toEqual(routes);
          expect(table.nodes()).toEqual([node]);
        },
      ),
    );
  });

  it('takes several blocks', () => {
    const routes = Array.from({ length: 5_000 }, (_, k): [string, Route] => [
      `room/${k}`,
      { epoch: 1, primary: `n${k % 7}`, cell: 'c', version: k },
    ]);
    const table = new RouteTable({ assignmentsMax: 10_000 });
    decodeRoutes(encode(routes), table);
    expect([...table.routes()]).toEqual(routes);
  });

  it('is refused when any byte differs or the end is missing', () => {
    const whole = encode([['room/a', { epoch: 1, primary: 'n.1', cell: 'c', version: 1 }]]);
    fc.assert(
      fc.property(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at]! ^= flip;
        const table = new RouteTable({ assignmentsMax: 10_000 });
        expect(decodeRoutes(damaged, table)).toBeUndefined();
        expect(decodeRoutes(whole.subarray(0, at), table)).toBeUndefined();
        expect(table.size).toBe(0);
      }),
    );
  });

  it('overwrites nothing newer', () => {
    const table = new RouteTable({ assignmentsMax: 10_000 });
    table.learn('room/a', 5, 'm.2');
    decodeRoutes(encode([['room/a', { epoch: 4, primary: 'n.1', cell: 'c', version: 9 }]]), table);
    expect(table.route('room/a')?.primary).toBe('m.2');
  });
});
