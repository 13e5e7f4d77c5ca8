/**
 * The world as the typed client and `InMemory` see it: only what browsers, workers and Node all have, so that importing
 * the client pulls in nothing of the server.
 */

export interface WebIo {
  fetch: typeof globalThis.fetch;
  /** A fresh idempotency key. */
  uniqueKey(): string;
  /** In [0, 1): spreads retries. */
  random(): number;
  monotonicMs(): number;
  realtimeMs(): number;
  setTimer(delayMs: number, fire: () => void): () => void;
}

export const webIo: WebIo = {
  fetch: (input, init) => globalThis.fetch(input, init),
  uniqueKey: () => crypto.randomUUID(),
  random: () => Math.random(),
  monotonicMs: () => performance.now(),
  realtimeMs: () => Date.now(),
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};
