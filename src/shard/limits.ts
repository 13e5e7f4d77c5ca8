/** Named limits of one shard. `docs/services.md` tells users of them. */

/** Of one request's JSON text. */
export const BODY_BYTES_MAX = 1 << 20;
/** Of one shard's state, as estimated from its parts (about its msgpack size). */
export const STATE_BYTES_MAX = 16 << 20;
/** Of one command's encoded delta, its result and key inside. */
export const DELTA_BYTES_MAX = 1 << 20;
/** How deep state may nest; what is deeper holds itself. */
export const STATE_DEPTH_MAX = 256;
/** Commands queued, running or not yet durable in one shard; beyond it 503, nothing executed. */
export const PENDING_COMMANDS_MAX = 1_000;
/** Bytes of their inputs and deltas. */
export const PENDING_BYTES_MAX = 4 << 20;
/** Requests held while the shard is sealed, and queries waiting for durability: each is a reply someone waits for. */
export const HELD_REQUESTS_MAX = 4_000;
/** `Retry-After` of an overloaded shard. */
export const RETRY_AFTER_S = 1;
/** No piece of work of ours keeps the event loop longer. */
export const SLICE_MS_MAX = 2;
/** Idempotency keys a shard remembers. */
export const WINDOW_KEYS_MAX = 10_000;
/** Bytes they may take together, results inside. */
export const WINDOW_BYTES_MAX = 1 << 20;
/** A client's key is remembered for at most this long. */
export const WINDOW_AGE_MS_MAX = 24 * 3_600_000;
/** Gateways whose low-water mark a shard remembers. */
export const WINDOW_GATEWAYS_MAX = 256;
/** Recent queries kept for the warm-up of a new home. */
export const RECENT_QUERIES_MAX = 16;
/** A recent query longer than this (input and answer together) is not kept. */
export const RECENT_QUERY_CHARS_MAX = 4_096;
/** `ctx.fetch` without a time limit of its own: half of what a gateway has for the request that waits for it. */
export const FETCH_MS_DEFAULT = 5_000;
export const FETCH_MS_MAX = 30_000;
/** Of one answer's body, decoded. */
export const FETCH_RESPONSE_BYTES_MAX = 4 << 20;
/** Of one body sent. */
export const FETCH_BODY_BYTES_MAX = 1 << 20;
/** Of one handler call, one after the other or at once. */
export const FETCHES_PER_CALL_MAX = 64;
/** Under way on one node. */
export const FETCHES_AT_ONCE_MAX = 512;
/** Callbacks one command may leave behind. */
export const AFTER_COMMIT_MAX = 16;
/** A callback that has not finished by then is given up. */
export const AFTER_COMMIT_MS_MAX = 30_000;
/** Callbacks under way on one node; the others wait their turn ... */
export const AFTER_COMMITS_AT_ONCE_MAX = 256;
/** ... and beyond so many waiting they are dropped, counted and logged. */
export const AFTER_COMMITS_WAITING_MAX = 10_000;
/** Users told apart per shard; more are "many". */
export const USERS_MAX = 64;
/** For how long a user counts as present. */
export const USER_MS = 10_000;
