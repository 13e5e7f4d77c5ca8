/**
 * The errors by which a participant of a migration says no: their codes cross the wire (`node/protocol.ts`).
 */

export type RefusalCode =
  /** Nothing of this shard is here. */
  | 'no-replica'
  /** What is here is no primary (any more), or is sealed. */
  | 'not-primary'
  /** The wanted deltas were trimmed: reload from a snapshot (OWNERSHIP rule 7). */
  | 'gap'
  /** The primary left memory with nothing in flight: there is nothing to follow until a request brings it back. */
  | 'idle'
  | 'bad-checksum'
  /** The order makes no sense here, is stale, or a limit is reached. Nothing was changed. */
  | 'refused';

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The code of an error from the wire, the store or here; undefined where it has none. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Rejects with `refused` when the promise takes longer than `limitMs`; what the promise does later is ignored. */
export function within<T>(
  clock: { setTimer(delayMs: number, fire: () => void): () => void },
  limitMs: number,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.setTimer(limitMs, () =>
      reject(new Refusal('refused', `${what} took longer than ${limitMs} ms`)),
    );
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error) => {
        cancel();
        reject(error);
      },
    );
  });
}
