/**
 * Keeps a route table current from the control store: nodes, shifts and quarantine whole, assignments as far as the
 * table's bound goes. While the store is away the table stays as it was.
 *
 * Listing assignments ahead saves the first request of each shard a round trip to the control store; a table that
 * holds all of them knows an unknown shard without asking.
 */
import type { Clock } from '../io/io.ts';
import type { RouteChange, RouteTable } from '../routing/route-table.ts';
import { type Mirror, mirrorPrefixes } from '../store/mirror.ts';
import type { ControlStore } from '../store/store.ts';

const PAGE_ENTRIES = 1_000;
const RETRY_MS = 500;

export class RouteFeed {
  readonly #table: RouteTable;
  readonly #control: ControlStore;
  readonly #clock: Clock;
  readonly #onChange: (change: RouteChange) => void;
  readonly #whole: Mirror;
  readonly #assignments: Mirror;
  /** Of the listing of assignments; an older one stops. */
  #listing = 0;
  #closed = false;
  #cancelRetry: () => void = () => {};

  /** `onChange` is told what changed; `onSynced` when nodes, shifts and quarantine are known, and after each reset. */
  constructor(options: {
    table: RouteTable;
    control: ControlStore;
    clock: Clock;
    onChange: (change: RouteChange) => void;
    onSynced: () => void;
  }) {
    const { table, control, clock } = options;
    this.#table = table;
    this.#control = control;
    this.#clock = clock;
    this.#onChange = options.onChange;
    const removed = (key: string) =>
      this.#tell(table.apply({ type: 'delete', key, revision: Number.POSITIVE_INFINITY }));
    this.#whole = mirrorPrefixes(control, ['node/', 'shift/', 'quarantine/'], {
      clock,
      onPut: (entry) => this.#tell(table.load(entry)),
      onDelete: removed,
      onSynced: () => {
        for (const change of table.retainNodes(this.#whole.entries)) this.#tell(change);
        options.onSynced();
      },
    });
    this.#assignments = mirrorPrefixes(control, ['own/'], {
      clock,
      values: 'forget',
      onPut: (entry) => this.#tell(table.apply({ type: 'put', entry, revision: entry.version })),
      onDelete: removed,
      onSynced: () => this.#list(),
      onReset: (revision) => {
        table.apply({ type: 'reset', revision });
        this.#list();
      },
    });
  }

  close(): void {
    this.#closed = true;
    this.#listing++;
    this.#cancelRetry();
    this.#whole.close();
    this.#assignments.close();
  }

  #tell(change: RouteChange | undefined): void {
    if (change && !this.#closed) this.#onChange(change);
  }

  #list(): void {
    this.#cancelRetry();
    const listing = ++this.#listing;
    this.#listPages(listing).catch(() => {
      if (this.#closed || listing !== this.#listing) return;
      this.#cancelRetry = this.#clock.setTimer(RETRY_MS, () => this.#list());
    });
  }

  async #listPages(listing: number): Promise<void> {
    let after: string | undefined;
    // Beyond the bound a listing would only push out what was listed before.
    while (!this.#table.full) {
      const page = await this.#control.list('own/', { limit: PAGE_ENTRIES, after });
      if (listing !== this.#listing) return;
      for (const entry of page.entries)
        this.#tell(this.#table.apply({ type: 'put', entry, revision: entry.version }));
      if (page.entries.length < PAGE_ENTRIES) {
        this.#table.markComplete();
        return;
      }
      after = page.entries[page.entries.length - 1]!.key;
    }
  }
}
