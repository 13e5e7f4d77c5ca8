/** In which cell a shard's log is: a region may have several, and each shard has one of them as its own. */
import { type CellId, type Region, rendezvous, type ShardId } from './ids.ts';

/** Cells as the control store names them. */
export type CellsByName = ReadonlyMap<CellId, { readonly region: Region }>;

/**
 * The cell of a shard whose primary is to be in a region: the present one where it is of that region, since a log is not
 * carried about for nothing; else one of the region's, the shards spread over them; the present one where there is none.
 */
export function cellFor<Present extends CellId | undefined>(
  shard: ShardId,
  present: Present,
  region: Region,
  cells: CellsByName,
): CellId | Present {
  if (present !== undefined && cells.get(present)?.region === region) return present;
  return rendezvous(shard, cellsOf(region, cells), (id) => id) ?? present;
}

export function cellsOf(region: Region, cells: CellsByName): CellId[] {
  const found: CellId[] = [];
  for (const [id, cell] of cells) if (cell.region === region) found.push(id);
  return found;
}
