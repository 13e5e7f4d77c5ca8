/**
 * A number that tells whether saved state is what was saved: state that was cut off, mixed or edited must not be learnt on
 * from, since what comes of it looks like a forecast.
 *
 * Boundary: pure; plain data in. Invariant: the same for a value and for what JSON or msgpack makes of it (absent and
 * undefined members, NaN and null, 0 and -0 count as one). It guards against accidents, not against malice.
 */

const PRIME = 0x01000193;
const START = 0x811c9dc5 | 0;

const float = new Float64Array(1);
const words = new Int32Array(float.buffer);

export function digestOf(value: unknown): number {
  return mix(START, value) >>> 0;
}

function mix(hash: number, value: unknown): number {
  if (typeof value === 'number') return mixNumber(hash, value);
  if (typeof value === 'string') return mixText(hash ^ 1, value);
  if (typeof value === 'boolean') return mixNumber(hash ^ 2, Number(value));
  if (typeof value !== 'object' || value === null) return mixNumber(hash, Number.NaN);
  if (Array.isArray(value)) {
    hash = mixNumber(hash ^ 3, value.length);
    for (const one of value) hash = mix(hash, one);
    return hash;
  }
  hash ^= 4;
  for (const [name, one] of Object.entries(value)) if (!isNothing(one)) hash = mix(mixText(hash, name), one);
  return hash;
}

/** What JSON leaves out, or writes as null. */
function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'number' && !Number.isFinite(value));
}

function mixNumber(hash: number, value: number): number {
  // -0 becomes 0, every NaN and infinity what JSON makes of it.
  float[0] = Number.isFinite(value) ? value + 0 : Number.NaN;
  return Math.imul(Math.imul(hash ^ words[0]!, PRIME) ^ words[1]!, PRIME);
}

function mixText(hash: number, text: string): number {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), PRIME);
  return Math.imul(hash ^ text.length, PRIME);
}

/**
 * Runs what loads saved state, after asking whether the state is whole.
 *
 * @param state its `digest` is of everything else in it; absent in what was saved before there were digests
 * @throws {RangeError} where it is not whole, or cannot be loaded; whatever was loading is of no further use then
 */
export function loadWhole(state: { digest?: number | undefined }, load: () => void): void {
  const { digest, ...rest } = state;
  if (digest !== undefined && digest !== digestOf(rest))
    throw new RangeError('the saved state is damaged: it is not what was saved');
  try {
    load();
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new RangeError('the saved state is damaged: it cannot be read', { cause: error });
  }
}
