/**
 * From an address to a store, whichever engine is behind it: `host:port` is a store process, `etcd://...` an etcd
 * cluster. Cells are found by the records that the control store has of them.
 */
import type { Io } from '../io/io.ts';
import type { CellId, Region } from '../model/ids.ts';
import { type CellRecord, CONTROL_KEYS, decodeRecord } from '../model/records.ts';
import { RemoteCellStore, RemoteControlStore } from './client.ts';
import type { StoreConnectionOptions } from './connection.ts';
import { isEtcdAddress, parseEtcdAddress } from './etcd/access.ts';
import { EtcdCellStore } from './etcd/cell-store.ts';
import { EtcdClient } from './etcd/client.ts';
import { EtcdControlStore } from './etcd/control-store.ts';
import { type Mirror, mirrorPrefixes } from './mirror.ts';
import {
  type CellDirectory,
  type CellPressure,
  type CellStore,
  type ControlStore,
  StoreError,
} from './store.ts';

/** @throws StoreError `invalid` where the address is none. */
export function connectControl(io: Io, address: string, options: StoreConnectionOptions): ControlStore {
  if (!isEtcdAddress(address)) return new RemoteControlStore(io, address, options);
  return new EtcdControlStore({ io, client: etcdClient(io, address, options) });
}

/**
 * @param region where the cell is, for distances that are emulated; a store process says so itself.
 * @throws StoreError `invalid` where the address is none.
 */
export function connectCell(
  io: Io,
  id: CellId,
  address: string,
  options: StoreConnectionOptions,
  region?: Region,
): CellStore {
  if (!isEtcdAddress(address)) return new RemoteCellStore(io, address, options);
  return new EtcdCellStore({ io, client: etcdClient(io, address, options, region), cell: id });
}

function etcdClient(io: Io, address: string, options: StoreConnectionOptions, region?: Region): EtcdClient {
  const { etcd: credentials, timeoutMs } = options;
  const roundTripMs = io.network.emulatedRoundTripMs?.(region);
  return new EtcdClient({ io, address: parseEtcdAddress(address), credentials, timeoutMs, roundTripMs });
}

/** Cells by id. Addresses are added as they are learnt; a cell nobody has told of is `unavailable`, not an error. */
export class RemoteCellDirectory implements CellDirectory {
  readonly #io: Io;
  readonly #options: StoreConnectionOptions;
  readonly #addresses = new Map<CellId, string>();
  readonly #regions = new Map<CellId, Region>();
  readonly #stores = new Map<CellId, CellStore>();
  readonly #handles = new Map<CellId, CellStore>();

  constructor(io: Io, options: StoreConnectionOptions, addresses: Iterable<[CellId, string]> = []) {
    this.#io = io;
    this.#options = options;
    for (const [id, address] of addresses) this.add(id, address);
  }

  /** Learns a cell, or that it moved to another address. */
  add(id: CellId, address: string, region?: Region): void {
    if (region !== undefined) this.#regions.set(id, region);
    if (this.#addresses.get(id) === address) return;
    this.#addresses.set(id, address);
    this.#stores.get(id)?.close();
    this.#stores.delete(id);
  }

  get known(): CellId[] {
    return [...this.#addresses.keys()];
  }

  /** Of the cells in use whose size is known. */
  *pressures(): Generator<[CellId, CellPressure]> {
    for (const [id, store] of this.#stores) {
      const pressure = store.pressure?.();
      if (pressure) yield [id, pressure];
    }
  }

  /** One store a cell, valid for good: it follows the cell's address. */
  cell(id: CellId): CellStore {
    let handle = this.#handles.get(id);
    if (!handle) {
      handle = this.#handle(id);
      this.#handles.set(id, handle);
    }
    return handle;
  }

  close(): void {
    for (const store of this.#stores.values()) store.close();
    this.#stores.clear();
    this.#addresses.clear();
  }

  #store(id: CellId): CellStore {
    const known = this.#stores.get(id);
    if (known) return known;
    const address = this.#addresses.get(id);
    if (address === undefined)
      throw new StoreError(
        'unavailable',
        `cell ${id} is not known here (yet); known: ${this.known.join(', ') || 'none'}`,
      );
    const store = connectCell(this.#io, id, address, this.#options, this.#regions.get(id));
    this.#stores.set(id, store);
    return store;
  }

  #handle(id: CellId): CellStore {
    const store = () => this.#store(id);
    const connected = () => this.#stores.get(id);
    return {
      raiseFence: async (...args) => store().raiseFence(...args),
      open: async (...args) => store().open(...args),
      append: async (...args) => store().append(...args),
      tail: async (...args) => store().tail(...args),
      putSnapshot: async (...args) => store().putSnapshot(...args),
      trim: async (...args) => store().trim(...args),
      deleteLog: async (...args) => store().deleteLog(...args),
      listShards: async (...args) => store().listShards(...args),
      get oneAppendPerShard() {
        return connected()?.oneAppendPerShard;
      },
      pressure: () => connected()?.pressure?.(),
      close: () => {
        this.#stores.get(id)?.close();
        this.#stores.delete(id);
      },
    };
  }
}

export interface ConnectedStores {
  control: ControlStore;
  cells: RemoteCellDirectory;
  /** Resolves once the cells that the control store names are known; later ones are learnt as they come. */
  ready: Promise<void>;
  close(): void;
}

/**
 * What a node, gateway or controller needs: the control store and every cell it names.
 *
 * @example
 * const stores = connectStores(io, { token, identity: processId, controlAddress: '127.0.0.1:20001' });
 * await stores.ready;
 * await stores.cells.cell('cell-us-east-1').raiseFence('cart/1', 1);
 */
export function connectStores(
  io: Io,
  options: StoreConnectionOptions & { controlAddress: string },
): ConnectedStores {
  const control = connectControl(io, options.controlAddress, options);
  const cells = new RemoteCellDirectory(io, options);
  const prefix = CONTROL_KEYS.cell('');
  let mirror: Mirror | undefined;
  const ready = new Promise<void>((resolve) => {
    mirror = mirrorPrefixes(control, [prefix], {
      clock: io.clock,
      onPut: (entry) => {
        const { address, region } = decodeRecord<CellRecord>(entry.value);
        cells.add(entry.key.slice(prefix.length), address, region);
      },
      // A cell's address outlives its record: logs may still be there, and the address does no harm.
      onDelete: () => {},
      onSynced: () => resolve(),
    });
  });
  return {
    control,
    cells,
    ready,
    close() {
      mirror?.close();
      cells.close();
      control.close();
    },
  };
}
