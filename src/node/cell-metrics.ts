/**
 * What a node's `/metrics` says about the size of its stores: the alarm that rings before a cell is full.
 *
 * Only stores that count their size show up: etcd clusters, whose own quota does not count what we write
 * (`store/etcd/upkeep.ts`). A store process has no limit but its disk.
 */
import { Gauge, type Registry } from 'prom-client';
import type { CellPressure } from '../store/store.ts';

/** Name of a cell, or `control`. */
export type Pressures = () => Iterable<readonly [name: string, pressure: CellPressure]>;

export function cellMetrics(registry: Registry, pressures: Pressures): void {
  const gauge = (name: string, help: string, read: (pressure: CellPressure) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['cell'],
      registers: [registry],
      collect() {
        // A cell that is gone must not go on being shown.
        this.reset();
        for (const [cell, pressure] of pressures()) this.set({ cell }, read(pressure));
      },
    });
  gauge(
    'skein_cell_database_bytes',
    'Bytes in use in the store of a cell.',
    ({ databaseBytes }) => databaseBytes,
  );
  gauge(
    'skein_cell_file_bytes',
    'Bytes of its file: never less, and used again.',
    ({ fileBytes }) => fileBytes,
  );
  gauge(
    'skein_cell_limit_bytes',
    'Bytes in use from which on it takes no appends.',
    ({ databaseBytesMax }) => databaseBytesMax,
  );
  gauge('skein_cell_back_pressure', '1 while new work for it is turned away.', ({ high }) => (high ? 1 : 0));
  gauge('skein_cell_full', '1 while it refuses appends.', ({ full }) => (full ? 1 : 0));
}
