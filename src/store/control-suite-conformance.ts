/** What the parts of the suite for control stores share: the store under test, short writes, and watches that remember. */
import { afterEach, beforeEach, expect } from 'vitest';
import type { ControlStore, KeyValue, StoreErrorCode, WatchEvent } from './store.ts';

export interface ControlFixture {
  store: ControlStore;
  /**
   * Stops the engine and starts it on the same data, as a restart of its process does. Gives the store to go on with.
   * Absent where an engine keeps nothing: then the cases of persistence are skipped, by name.
   */
  reopen?: () => Promise<ControlStore>;
  close: () => Promise<void>;
}

/** Long enough to outlive a slow machine's hiccup where a lease must live, short enough to wait for its end. */
export const TTL_MS_SHORT = 600;
export const TTL_MS_LONG = 60_000;

/** One store a test; `store` is another one after `fixture.reopen`. */
export interface ControlSuite {
  fixture: ControlFixture;
  store: ControlStore;
  /** Both give the revision. */
  put(key: string, value: string, lease?: string): Promise<number>;
  remove(key: string): Promise<number>;
}

/** Call it inside a `describe`: it makes a store before each test and closes it after. */
export function controlSuite(make: () => Promise<ControlFixture>): ControlSuite {
  const suite: ControlSuite = {
    fixture: undefined as unknown as ControlFixture,
    store: undefined as unknown as ControlStore,
    put: async (key, value, lease) =>
      (await suite.store.transact({ compare: [], operations: [{ put: key, value, lease }] })).revision,
    remove: async (key) =>
      (await suite.store.transact({ compare: [], operations: [{ delete: key }] })).revision,
  };
  beforeEach(async () => {
    suite.fixture = await make();
    suite.store = suite.fixture.store;
  });
  afterEach(() => suite.fixture.close());
  return suite;
}

export async function expectCode(promise: Promise<unknown>, code: StoreErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'StoreError', code });
}

export function byKey(a: KeyValue, b: KeyValue): number {
  return a.key < b.key ? -1 : 1;
}

export function keyOf(event: WatchEvent): string | undefined {
  if (event.type === 'reset') return undefined;
  return event.type === 'put' ? event.entry.key : event.key;
}

/** A watch that remembers, and lets a test wait for what must come: no sleeping. */
export function collect(store: ControlStore, prefixes: string[], fromRevision: number) {
  const events: WatchEvent[] = [];
  let progress = 0;
  let waiting: { holds: () => boolean; resolve: () => void }[] = [];
  const wake = () => {
    waiting = waiting.filter(({ holds, resolve }) => {
      if (!holds()) return true;
      resolve();
      return false;
    });
  };
  const wait = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      waiting.push({ holds, resolve });
      wake();
    });
  const subscription = store.watch(
    prefixes,
    fromRevision,
    (event) => {
      events.push(event);
      wake();
    },
    (revision) => {
      progress = revision;
      wake();
    },
  );
  return {
    events,
    until: (holds: (events: WatchEvent[]) => boolean) => wait(() => holds(events)),
    untilProgress: (revision: number) => wait(() => progress >= revision),
    close: () => subscription.close(),
  };
}
