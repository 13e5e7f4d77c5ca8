/** The node's own refusals as replies. */
import { type ErrorCode, problem } from '../model/errors.ts';
import type { IdempotencyKey, ShardReply } from '../model/request.ts';

/** A problem document as a reply; 503 carries the seconds after which to try again. */
export function refuse(
  code: ErrorCode,
  detail: string,
  extensions?: Readonly<Record<string, unknown>>,
): ShardReply {
  const reply: ShardReply = problem(code, detail, extensions);
  if (reply.status === 503) reply.retryAfterS = 1;
  return reply;
}

/** An idempotency key as one text: what the watchdog records of a command. */
export function idempotencyText(key: IdempotencyKey | undefined): string | undefined {
  if (key === undefined) return undefined;
  return key.kind === 'client' ? key.key : `${key.gateway}#${key.number}`;
}
