/**
 * Names of things: services, keys, shards, nodes, processes, cells, regions.
 *
 * A shard's id is `service/key` with the key in its one canonical percent-encoding, so that the id is at the
 * same time the path prefix a client uses, a store key and a log line.
 */

/** A cloud region such as `us-east-1`; the origin of a request is a region too. */
export type Region = string;
/** A failure domain inside a region, such as `us-east-1a`. */
export type Zone = string;
/** `service/key`, canonical. Made only by {@link shardId} and {@link parseShardId}. */
export type ShardId = string;
/** Stable name of a node, the same after a restart: `us-east-1-n1`. */
export type NodeName = string;
/** Unique per start of a process (OWNERSHIP rule 1): `us-east-1-n1.k3f9x0`. */
export type ProcessId = string;
/** Name of one consistent store that holds logs: `cell-us-east-1`. */
export type CellId = string;
/** A shard's fencing token; grows by one with each change of primary. The first is 1. */
export type Epoch = number;
/** Number of a shard's delta; the first delta is 1, the empty shard is at 0. */
export type Seq = number;

/** Keys are limited so that a store key and a URL stay small. */
export const KEY_BYTES_MAX = 512;
export const BUCKET_COUNT = 4096;
const SERVICE_NAME = /^[a-z][a-z0-9-]{0,62}$/;
const HANDLER_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/;
/** Unreserved characters of RFC 3986 alone. */
const PLAIN_KEY = /^[A-Za-z0-9_.~-]+$/;
/** First path segments that belong to the platform. */
export const RESERVED_SERVICES: ReadonlySet<string> = new Set(['v1', 'metrics', 'healthz', 'readyz']);

export type IdProblem = 'service-name-invalid' | 'key-invalid' | 'handler-name-invalid';

/** Whether a service may be called so: lower-case letters, digits and dashes, not reserved. */
export function isServiceName(name: string): boolean {
  return SERVICE_NAME.test(name) && !RESERVED_SERVICES.has(name);
}

/** Whether a handler may be called so. `then` is refused: it would make a typed client look like a promise. */
export function isHandlerName(name: string): boolean {
  return HANDLER_NAME.test(name) && name !== 'then' && name !== '__proto__' && name !== 'constructor';
}

/**
 * The canonical percent-encoding of a key: RFC 3986 unreserved characters stay, everything else is `%XX` of
 * its UTF-8 bytes, upper-case.
 *
 * @throws RangeError when the key is empty, `.`, `..`, not well-formed Unicode, or over {@link KEY_BYTES_MAX}.
 * @example
 * encodeKey('caf\u00e9/1') // 'caf%C3%A9%2F1'
 */
export function encodeKey(key: string): string {
  if (key === '' || key === '.' || key === '..')
    throw new RangeError(`the key ${JSON.stringify(key)} is reserved`);
  if (!key.isWellFormed()) throw new RangeError('the key is not well-formed Unicode');
  const encoded = encodeURIComponent(key).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  if (encoded.length > KEY_BYTES_MAX) {
    throw new RangeError(`the key takes ${encoded.length} bytes encoded, over the limit of ${KEY_BYTES_MAX}`);
  }
  return encoded;
}

/** The key as its owner wrote it. Accepts any percent-encoding; throws RangeError where there is none. */
export function decodeKey(encoded: string): string {
  let key: string;
  try {
    key = decodeURIComponent(encoded);
  } catch {
    throw new RangeError(`${JSON.stringify(encoded)} is not percent-encoded UTF-8`);
  }
  encodeKey(key);
  return key;
}

/**
 * The id of a shard from a service's name and a plain key.
 *
 * @throws RangeError for a name or key that is not allowed.
 * @example
 * shardId('cart', 'a b') // 'cart/a%20b'
 */
export function shardId(service: string, key: string): ShardId {
  if (!isServiceName(service)) throw new RangeError(`${JSON.stringify(service)} is not a service name`);
  return `${service}/${encodeKey(key)}`;
}

/** Splits an id into its service and plain key; throws RangeError when it is not a canonical id. */
export function parseShardId(id: ShardId): { service: string; key: string } {
  const slash = id.indexOf('/');
  const service = id.slice(0, slash);
  const encoded = id.slice(slash + 1);
  // Nearly every key of nearly every request: nothing in it to encode, so it is its own canonical form.
  if (slash > 0 && isPlainKey(encoded) && isServiceName(service)) return { service, key: encoded };
  const key = decodeKey(encoded);
  if (slash < 0 || shardId(service, key) !== id)
    throw new RangeError(`${JSON.stringify(id)} is not a shard id`);
  return { service, key };
}

function isPlainKey(encoded: string): boolean {
  return encoded.length <= KEY_BYTES_MAX && PLAIN_KEY.test(encoded) && encoded !== '.' && encoded !== '..';
}

/** 32-bit FNV-1a over UTF-16 code units: for buckets and stickiness, where speed matters and secrecy does not. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  // FNV's low bits are weak for short strings: finish as murmur3 does.
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The bucket of the control store that holds a shard's assignment: 0 to 4095, as three hex digits. */
export function bucketOf(shard: ShardId): string {
  return (hash32(shard) % BUCKET_COUNT).toString(16).padStart(3, '0');
}

/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): each shard prefers nodes in an order of its own, so a
 * node that leaves spreads its shards over all others and moves nobody else's.
 */
export function rendezvous<T>(
  shard: ShardId,
  nodes: readonly T[],
  nameOf: (node: T) => string,
): T | undefined {
  let best: T | undefined;
  let bestWeight = -1;
  let bestName = '';
  for (const node of nodes) {
    const name = nameOf(node);
    const weight = hash32(`${name}\u0000${shard}`);
    if (weight > bestWeight || (weight === bestWeight && name < bestName)) {
      best = node;
      bestWeight = weight;
      bestName = name;
    }
  }
  return best;
}
