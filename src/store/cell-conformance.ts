/**
 * The one suite every cell store passes, whatever its engine and however far away: each sentence of `store.ts`, and
 * the rules of ownership that a cell enforces.
 */
import { describe } from 'vitest';
import { cellLogConformance } from './cell-log-conformance.ts';
import { cellMaintenanceConformance } from './cell-maintenance-conformance.ts';
import type { CellFixture } from './cell-suite-conformance.ts';

export type { CellFixture } from './cell-suite-conformance.ts';

export function cellStoreConformance(name: string, make: () => Promise<CellFixture>): void {
  describe(`cell store: ${name}`, () => {
    cellLogConformance(make);
    cellMaintenanceConformance(make);
  });
}
