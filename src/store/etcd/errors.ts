/**
 * What etcd and gRPC report, as a StoreError. The one question that matters is whether the call may have happened:
 * everything that is not surely refused is `unavailable`.
 */
import { StoreError } from '../store.ts';

/** A reading at a revision that a compaction has since removed: read again at the present one. */
export class CompactedError extends StoreError {
  constructor(cause?: unknown) {
    super('unavailable', 'the revision being read was compacted away; read again', { cause });
  }
}

/** Surely refused by etcd before anything was written; first match wins. */
const REFUSALS: readonly [pattern: RegExp, code: 'lease-gone' | 'too-large' | 'invalid' | 'unauthorized'][] =
  [
    [/requested lease not found/, 'lease-gone'],
    [/request is too large|too many operations|larger than max|too large lease TTL/, 'too-large'],
    [/duplicate key given|key is not provided|value is provided|lease is provided/, 'invalid'],
    [
      /invalid auth token|authentication failed|permission denied|user name is empty|user name not found|authentication is not enabled|UNAUTHENTICATED/,
      'unauthorized',
    ],
  ];

const REMEDIES: Partial<Record<string, string>> = {
  'too many operations': '; start etcd with --max-txn-ops 20000 (`skein doctor` shows what is set)',
  'request is too large': '; etcd takes 1.5 MB a request unless --max-request-bytes says more',
};

/** Turns whatever a call rejected with into a StoreError. */
export function storeErrorOfEtcd(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/required revision has been compacted/.test(message)) return new CompactedError(error);
  for (const [pattern, code] of REFUSALS) {
    const match = pattern.exec(message);
    if (!match) continue;
    return new StoreError(code, `etcd: ${plain(message)}${REMEDIES[match[0]] ?? ''}`, { cause: error });
  }
  return new StoreError('unavailable', `etcd: ${plain(message)}`, { cause: error });
}

/** Whether the call surely never left this process: then another member may be asked at once. */
export function neverSent(error: unknown): boolean {
  const message = error instanceof Error ? error.message : String(error);
  return /No connection established|Name resolution failed|ECONNREFUSED|Channel closed before call started/.test(
    message,
  );
}

/** Whether the call surely was not proposed, since its member knows no leader: safe to ask again. */
export function neverProposed(error: unknown): boolean {
  const message = error instanceof Error ? error.message : String(error);
  return /raft proposal dropped|etcdserver: no leader|etcd: no leader/.test(message);
}

/**
 * Whether a member, rather than the request, is at fault: the next call goes to another one. One that says that the leader
 * changed is well, and knows the new one.
 */
export function memberFailed(error: unknown): boolean {
  const message = error instanceof Error ? error.message : String(error);
  return /UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED|request timed out|no leader|server stopped/.test(message);
}

/** Without gRPC's `14 UNAVAILABLE: ` and etcd's own name. */
function plain(message: string): string {
  return message
    .replace(/^\w+: /, '')
    .replace(/^\d+ [A-Z_]+: /, '')
    .replace(/^etcdserver: /, '');
}
