import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import type { CellPressure } from '../store/store.ts';
import { cellMetrics } from './cell-metrics.ts';

it('shows each store that counts its size, and forgets one that is gone', async () => {
  const registry = new Registry();
  const cells = new Map<string, CellPressure>([
    ['cell-a', { databaseBytes: 10, fileBytes: 30, databaseBytesMax: 100, high: false, full: false }],
    ['cell-b', { databaseBytes: 101, fileBytes: 130, databaseBytesMax: 100, high: true, full: true }],
  ]);
  cellMetrics(registry, () => cells);
  const lines = async () =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('skein_cell_'));
  expect(await lines()).toEqual([
    'skein_cell_database_bytes{cell="cell-a"} 10',
    'skein_cell_database_bytes{cell="cell-b"} 101',
    'skein_cell_file_bytes{cell="cell-a"} 30',
    'skein_cell_file_bytes{cell="cell-b"} 130',
    'skein_cell_limit_bytes{cell="cell-a"} 100',
    'skein_cell_limit_bytes{cell="cell-b"} 100',
    'skein_cell_back_pressure{cell="cell-a"} 0',
    'skein_cell_back_pressure{cell="cell-b"} 1',
    'skein_cell_full{cell="cell-a"} 0',
    'skein_cell_full{cell="cell-b"} 1',
  ]);
  cells.delete('cell-b');
  expect((await lines()).filter((line) => line.includes('cell-b'))).toEqual([]);
});
