import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONTROL_KEYS, encodeRecord } from '../model/records.ts';
import { RouteTable } from './route-table.ts';

const own = (shard: string, version: number, epoch: number, primary = 'n.1') => ({
  key: CONTROL_KEYS.own(shard),
  value: encodeRecord({ epoch, primary, cell: 'c', standbys: [] }),
  version,
});
const put = (entry: ReturnType<typeof own>) => ({ type: 'put' as const, entry, revision: entry.version });

/** The same, slow and obvious: an array in order of use. */
class SlowTable {
  readonly max: number;
  rows: { shard: string; epoch: number; primary: string; version: number }[] = [];

  constructor(max: number) {
    this.max = max;
  }
  find(shard: string) {
    return this.rows.find((row) => row.shard === shard);
  }
  use(shard: string) {
    const row = this.find(shard);
    if (row) this.rows = [...this.rows.filter((other) => other !== row), row];
    return row;
  }
  write(shard: string, epoch: number, primary: string, version: number) {
    this.rows = [...this.rows.filter((row) => row.shard !== shard), { shard, epoch, primary, version }];
    if (this.rows.length > this.max) this.rows.shift();
  }
  put(shard: string, epoch: number, primary: string, version: number, wanted: boolean) {
    const row = this.find(shard);
    if (!row && !wanted && this.rows.length >= this.max) return;
    if (row && (row.epoch > epoch || (row.epoch === epoch && row.version > version))) return;
    this.write(shard, epoch, primary, version);
  }
  delete(shard: string, revision: number) {
    this.rows = this.rows.filter((row) => row.shard !== shard || row.version > revision);
  }
  learn(shard: string, epoch: number, primary: string) {
    const row = this.find(shard);
    if (row && row.epoch >= epoch) return;
    this.write(shard, epoch, primary, row?.version ?? 0);
  }
}

const shards = ['room/a', 'room/b', 'room/c', 'room/d', 'room/e'];
const action = fc.record({
  kind: fc.constantFrom('put', 'load', 'delete', 'learn', 'route', 'forget'),
  shard: fc.constantFrom(...shards),
  epoch: fc.integer({ min: 1, max: 5 }),
  version: fc.integer({ min: 1, max: 20 }),
  primary: fc.constantFrom('n.1', 'm.2', 'o.3'),
});

describe('the route table', () => {
  it('equals its slow twin on any sequence of events, and stays within its bound', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const table = new RouteTable({ assignmentsMax: 3 });
        const twin = new SlowTable(3);
        for (const { kind, shard, epoch, version, primary } of actions) {
          if (kind === 'put') {
            table.apply(put(own(shard, version, epoch, primary)));
            twin.put(shard, epoch, primary, version, false);
          } else if (kind === 'load') {
            table.load(own(shard, version, epoch, primary));
            twin.put(shard, epoch, primary, version, true);
          } else if (kind === 'delete') {
            table.apply({ type: 'delete', key: CONTROL_KEYS.own(shard), revision: version });
            twin.delete(shard, version);
          } else if (kind === 'learn') {
            table.learn(shard, epoch, primary);
            twin.learn(shard, epoch, primary);
          } else if (kind === 'route') {
            const row = twin.use(shard);
            expect(table.route(shard)?.primary).toBe(row?.primary);
          } else {
            table.forget(shard);
            twin.rows = twin.rows.filter((row) => row.shard !== shard);
          }
          expect(table.size).toBeLessThanOrEqual(3);
          const rows = [...table.routes()].map(([id, route]) => ({ shard: id, ...route, cell: undefined }));
          expect(rows.reverse()).toEqual(twin.rows.map((row) => ({ ...row, cell: undefined })));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the event of a shard whose look-up is under way, even when full', () => {
    const table = new RouteTable({ assignmentsMax: 1 });
    table.load(own('room/a', 1, 1));
    const release = table.expect('room/b');
    table.apply(put(own('room/b', 7, 2, 'new.1')));
    table.load(own('room/b', 5, 1, 'old.1'));
    release();
    expect(table.route('room/b')).toMatchObject({ primary: 'new.1', version: 7 });
    table.apply(put(own('room/c', 8, 1)));
    expect(table.route('room/c')).toBeUndefined();
  });

  it('is complete only while nothing was left out, pushed out or forgotten', () => {
    const table = new RouteTable({ assignmentsMax: 3 });
    table.load(own('room/a', 1, 1));
    table.markComplete();
    expect(table.complete).toBe(true);
    table.load(own('room/b', 2, 1));
    table.load(own('room/c', 3, 1));
    expect(table.complete).toBe(true);
    table.load(own('room/d', 4, 1));
    expect(table.complete).toBe(false);
    table.markComplete();
    expect(table.complete).toBe(false);
    const roomy = new RouteTable();
    roomy.markComplete();
    roomy.apply({ type: 'reset', revision: 9 });
    expect(roomy.complete).toBe(false);
  });

  it('learns from a 421 that names a newer version of the same epoch, and never goes back', () => {
    const table = new RouteTable();
    table.load(own('room/a', 5, 3, 'n.1'));
    expect(table.learn('room/a', 3, 'm.2')).toBeUndefined();
    expect(table.learn('room/a', 3, 'm.2', 6)).toEqual({ type: 'shard', shard: 'room/a' });
    table.apply(put(own('room/a', 5, 3, 'n.1')));
    expect(table.route('room/a')?.primary).toBe('m.2');
    table.learn('room/a', 4, 'o.3');
    table.apply(put(own('room/a', 7, 3, 'n.1')));
    expect(table.route('room/a')?.primary).toBe('o.3');
  });

  it('names no cell beside what a reply taught: the shard may have moved to another', () => {
    const table = new RouteTable();
    table.load(own('room/a', 5, 3, 'n.1'));
    expect(table.route('room/a')?.cell).toBe('c');
    table.learn('room/a', 4, 'm.2', 6);
    expect(table.route('room/a')).toMatchObject({ epoch: 4, version: 6, cell: '' });
    table.apply(put(own('room/a', 6, 4, 'm.2')));
    expect(table.route('room/a')).toMatchObject({ epoch: 4, version: 6, cell: 'c' });
  });

  it('follows shifts, nodes and quarantine, deletes included', () => {
    const table = new RouteTable();
    const key = CONTROL_KEYS.shift('room/a');
    const value = encodeRecord({ migration: 'm', from: 'n.1', to: 'm.2', percent: 5 });
    expect(table.load({ key, value, version: 4 })).toEqual({ type: 'shard', shard: 'room/a' });
    expect(table.shift('room/a')).toMatchObject({ from: 'n.1', to: 'm.2', percent: 5 });
    table.apply({ type: 'delete', key, revision: 5 });
    expect(table.shift('room/a')).toBeUndefined();

    const record = { processId: 'n.1', name: 'n', services: {} };
    table.load({ key: 'node/n.1', value: encodeRecord(record), version: 1 });
    table.load({ key: 'node/o.3', value: encodeRecord({ ...record, processId: 'o.3' }), version: 2 });
    expect(table.nodes().map((node) => node.processId)).toEqual(['n.1', 'o.3']);
    expect(table.retainNodes(new Set(['node/o.3']))).toEqual([{ type: 'node-gone', process: 'n.1' }]);
    expect(table.node('n.1')).toBeUndefined();

    const poisoned = {
      shard: 'room/p',
      handler: 'loop',
      deaths: ['n.1', 'o.3'],
      quarantined: true,
      sinceMs: 0,
    };
    table.load({ key: CONTROL_KEYS.quarantine('room/p'), value: encodeRecord(poisoned), version: 3 });
    expect(table.quarantined('room/p')?.handler).toBe('loop');
    expect(table.deathBlamedOnOther('n.1', 'room/a')).toBe(true);
    expect(table.deathBlamedOnOther('n.1', 'room/p')).toBe(false);
    table.apply({ type: 'delete', key: CONTROL_KEYS.quarantine('room/p'), revision: 4 });
    expect(table.quarantined('room/p')).toBeUndefined();
  });
});
