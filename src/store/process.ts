/**
 * A store process: opens its files, serves them, and says in the control store where its cell is.
 *
 * The directory's `store.json` says what it holds, so that a cell's files are never served under another cell's name.
 */
import { join } from 'node:path';
import type { Io } from '../io/io.ts';
import type { CellId, Region } from '../model/ids.ts';
import type { CellRecord } from '../model/records.ts';
import { connectControl } from './connect.ts';
import { registerCell } from './register.ts';
import { serveStore } from './server.ts';
import { SqliteCell } from './sqlite/cell-engine.ts';
import { Checkpointer } from './sqlite/checkpointer.ts';
import { SqliteControl } from './sqlite/control-engine.ts';
import { openDatabase } from './sqlite/database.ts';
import { type ControlStore, StoreError } from './store.ts';

const FORMAT = 1;

export interface StoreProcessOptions {
  io: Io;
  /** `host:port`; port 0 picks a free one. */
  address: string;
  token: string;
  /** Made where it is missing. */
  dataDirectory: string;
  /** Serve a cell of this name. */
  cellId?: CellId;
  /** Of the cell; needed with `cellId`. */
  region?: Region;
  /** Serve the control store. */
  control: boolean;
  /** Where the control store is, if elsewhere: the cell is registered there. */
  controlAddress?: string;
}

export interface StoreProcess {
  readonly address: string;
  /** Resolves when the cell's address stands in the control store; at once where there is nothing to register. */
  readonly registered: Promise<void>;
  close(): Promise<void>;
}

interface StoreManifest {
  format: number;
  cellId?: CellId;
}

/**
 * @throws StoreError `invalid` where the directory holds another cell, `unavailable` where its files are in use.
 * @example
 * const store = await runStoreProcess({
 *   io, token, address: '127.0.0.1:20001', dataDirectory: 'data/us-east-1',
 *   cellId: 'cell-us-east-1', region: 'us-east-1', control: true,
 * });
 */
export async function runStoreProcess(options: StoreProcessOptions): Promise<StoreProcess> {
  const { io, cellId, region, dataDirectory } = options;
  if (cellId !== undefined && region === undefined)
    throw new StoreError('invalid', `cell ${cellId} needs a region`);
  if (cellId === undefined && !options.control)
    throw new StoreError('invalid', 'a store process serves a cell, the control store, or both');
  await claimDirectory(io, dataDirectory, cellId);

  let control: SqliteControl | undefined;
  let cell: SqliteCell | undefined;
  const checkpointers: Checkpointer[] = [];
  const closeEngines = async () => {
    await Promise.all(checkpointers.map((one) => one.close()));
    cell?.close();
    control?.close();
  };
  const open = (name: string) => {
    const path = join(dataDirectory, name);
    const database = openDatabase(path);
    checkpointers.push(new Checkpointer(path, database, io.log));
    return database;
  };
  try {
    const now = () => io.clock.monotonicMs();
    if (options.control) control = new SqliteControl({ database: open('control.sqlite'), now });
    if (cellId !== undefined) cell = new SqliteCell({ database: open('cell.sqlite') });
    const server = await serveStore({ io, address: options.address, token: options.token, control, cell });
    io.log.info({ address: server.address, cell: cellId, control: options.control }, 'the store serves');

    let stopped = false;
    let registrar: ControlStore | undefined;
    let registered = Promise.resolve();
    const controlAddress = options.controlAddress ?? (options.control ? server.address : undefined);
    if (cellId !== undefined && controlAddress !== undefined) {
      const identity = `store-${cellId}`;
      registrar = connectControl(io, controlAddress, { token: options.token, identity });
      const record: CellRecord = { region: region!, address: server.address };
      registered = registerCell(io, registrar, cellId, record, () => stopped).finally(() =>
        registrar?.close(),
      );
    }
    return {
      address: server.address,
      registered,
      async close() {
        stopped = true;
        registrar?.close();
        await server.close();
        await closeEngines();
      },
    };
  } catch (error) {
    await closeEngines();
    throw error;
  }
}

async function claimDirectory(io: Io, directory: string, cellId: CellId | undefined): Promise<void> {
  const path = join(directory, 'store.json');
  const bytes = await io.disk.read(path);
  const found: StoreManifest = bytes
    ? (JSON.parse(new TextDecoder().decode(bytes)) as StoreManifest)
    : { format: FORMAT };
  if (found.format !== FORMAT) {
    throw new StoreError(
      'invalid',
      `${path} has format ${found.format}, this build reads ${FORMAT}: use the build that wrote it`,
    );
  }
  if (found.cellId !== undefined && cellId !== undefined && found.cellId !== cellId) {
    throw new StoreError(
      'invalid',
      `${directory} holds ${found.cellId}, not ${cellId}: give each cell a directory of its own`,
    );
  }
  if (bytes && (cellId === undefined || found.cellId === cellId)) return;
  const manifest: StoreManifest = { format: FORMAT, cellId: cellId ?? found.cellId };
  await io.disk.write(path, new TextEncoder().encode(`${JSON.stringify(manifest)}\n`));
}
