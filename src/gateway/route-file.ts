/**
 * The routes as a file, so that a gateway that restarts without control store and controller serves at once. Pure.
 *
 * Lines of JSON: a head with the nodes and all names, blocks of routes, and a CRC-32 of everything before it. A file
 * that is damaged, cut or of another format is as good as none. What it says may be stale: nodes correct that.
 */
import { crc32 } from 'node:zlib';
import type { ShardId } from '../model/ids.ts';
import { CONTROL_KEYS, encodeRecord, type NodeRecord } from '../model/records.ts';
import type { Route, RouteTable } from '../routing/route-table.ts';

const FORMAT = 'skein-routes-1';
/** Routes a block: encoding one takes well under 5 ms. */
const BLOCK_ROUTES = 2_000;

interface Head {
  format: string;
  savedAtMs: number;
  nodes: NodeRecord[];
}

/** A route as a row: names by their number in the block. */
type Row = [
  shard: ShardId,
  epoch: number,
  primary: number,
  cell: number,
  version: number,
  standbys?: number[],
];
interface Block {
  names: string[];
  rows: Row[];
}

/** The file in pieces: one `next()` a tick keeps the event loop free. */
export function* encodeRoutes(
  routes: Iterable<[ShardId, Route]>,
  nodes: readonly NodeRecord[],
  savedAtMs: number,
): Generator<Buffer> {
  let checksum = 0;
  const line = (value: Head | Block) => {
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    checksum = crc32(bytes, checksum);
    return bytes;
  };
  yield line({ format: FORMAT, savedAtMs, nodes: [...nodes] });
  let block: Block = { names: [], rows: [] };
  let numbers = new Map<string, number>();
  const numberOf = (name: string) => {
    let number = numbers.get(name);
    if (number === undefined) {
      number = block.names.push(name) - 1;
      numbers.set(name, number);
    }
    return number;
  };
  for (const [shard, { epoch, primary, cell, version, standbys }] of routes) {
    const row: Row = [shard, epoch, numberOf(primary), numberOf(cell), version];
    if (standbys !== undefined) row.push(standbys.map(numberOf));
    block.rows.push(row);
    if (block.rows.length < BLOCK_ROUTES) continue;
    yield line(block);
    block = { names: [], rows: [] };
    numbers = new Map();
  }
  if (block.rows.length > 0) yield line(block);
  yield Buffer.from(`${checksum.toString(16).padStart(8, '0')}\n`);
}

/** Fills a table from a file; returns when it was saved, or undefined where the file is not whole and ours. */
export function decodeRoutes(bytes: Uint8Array, table: RouteTable): number | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Nine bytes of checksum line at the end.
  const bodyBytes = buffer.length - 9;
  if (bodyBytes <= 0) return undefined;
  const checksum = crc32(buffer.subarray(0, bodyBytes)).toString(16).padStart(8, '0');
  if (buffer.toString('latin1', bodyBytes) !== `${checksum}\n`) return undefined;
  const lines = buffer.toString('utf8', 0, bodyBytes).split('\n');
  const head = JSON.parse(lines[0]!) as Head;
  if (head.format !== FORMAT) return undefined;
  for (const node of head.nodes)
    table.load({ key: CONTROL_KEYS.node(node.processId), value: encodeRecord(node), version: 0 });
  // Used last comes first in the file, and must be loaded last.
  for (let i = lines.length - 1; i > 0; i--) {
    if (lines[i] === '') continue;
    const { names, rows } = JSON.parse(lines[i]!) as Block;
    for (let r = rows.length - 1; r >= 0; r--) {
      const [shard, epoch, primary, cell, version, standbys = []] = rows[r]!;
      table.restore(shard, {
        epoch,
        primary: names[primary]!,
        cell: names[cell]!,
        version,
        standbys: standbys.map((number) => names[number]!),
      });
    }
  }
  return head.savedAtMs;
}
