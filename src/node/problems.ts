/** The node's own refusals as replies. */
import { type ErrorCode, problem } from '../model/errors.ts';
import type { ShardReply } from '../model/request.ts';

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
