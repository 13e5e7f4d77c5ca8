/** A problem's numbers by shard, in one place: how many of each a shard has, made empty and grown. */
import { NOWHERE, type Problem } from './problem.ts';

const COLUMNS = {
  value: [Float64Array, 'region'],
  userEgress: [Float32Array, 'region'],
  loadMean: [Float64Array, 'dimension'],
  loadVariance: [Float64Array, 'dimension'],
  writeGbPerHour: [Float64Array, 'shard'],
  stateGb: [Float64Array, 'shard'],
  requestsPerSecond: [Float64Array, 'shard'],
  moveFarUsd: [Float64Array, 'shard'],
  moveNearUsd: [Float64Array, 'shard'],
  promotionUsd: [Float64Array, 'shard'],
  standbys: [Uint8Array, 'shard'],
  spread: [Uint8Array, 'shard'],
  allowed: [Uint32Array, 'word'],
  pinnedTo: [Int32Array, 'shard'],
  frozen: [Uint8Array, 'shard'],
  buildClass: [Uint16Array, 'shard'],
  saturating: [Uint8Array, 'shard'],
  start: [Int32Array, 'slot'],
} as const;

type Name = keyof typeof COLUMNS;
const NAMES = Object.keys(COLUMNS) as Name[];
export type ShardColumns = Pick<Problem, Name>;
type Sizes = Pick<Problem, 'regionCount' | 'dims' | 'regionWords' | 'width'>;
type Column = ShardColumns[Name];

/** Of so many shards: zeros, nothing pinned, everything nowhere. */
export function emptyColumns(shards: number, sizes: Sizes): ShardColumns {
  const columns = {} as Record<Name, Column>;
  for (const name of NAMES) columns[name] = empty(name, shards, sizes);
  return columns as ShardColumns;
}

/** Room for so many shards, more or fewer than there were: one column after the other, so that no two are there twice. */
export function resizeColumns(problem: Problem, shards: number): void {
  const columns: Record<Name, Column> = problem;
  for (const name of NAMES) {
    const into = empty(name, shards, problem);
    into.set(columns[name].subarray(0, into.length) as never);
    columns[name] = into;
  }
}

function empty(name: Name, shards: number, sizes: Sizes): Column {
  const [Kind, per] = COLUMNS[name];
  const column = new Kind(shards * each(per, sizes));
  return name === 'pinnedTo' || name === 'start' ? column.fill(NOWHERE) : column;
}

function each(per: (typeof COLUMNS)[Name][1], sizes: Sizes): number {
  if (per === 'region') return sizes.regionCount;
  if (per === 'dimension') return sizes.dims;
  if (per === 'word') return sizes.regionWords;
  return per === 'slot' ? sizes.width : 1;
}

/** Numbers of the (region, zone) pairs of nodes, in the order in which they appear, and their names. */
export function numberZones(nodes: readonly { region: string; zone: string }[]): {
  nodeZone: Int32Array;
  zones: string[];
} {
  const numbers = new Map<string, number>();
  const nodeZone = Int32Array.from(nodes, ({ region, zone }) => {
    const key = `${region}/${zone}`;
    if (!numbers.has(key)) numbers.set(key, numbers.size);
    return numbers.get(key)!;
  });
  return { nodeZone, zones: [...numbers.keys()] };
}
