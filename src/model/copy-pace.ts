/**
 * How much of a node a copy may take: what requests leave. A gigabyte costs seconds of CPU at both of its ends; taken at full speed
 * from a busy node it makes users wait who need not. So copies give way as their ends fill. Where requests alone fill a node, the copy that
 * relieves it goes at full speed: its users wait already, and it is what ends that.
 *
 * Pure. Shares are of a node's CPU, 0 to 1.
 */

/** Requests and copies together fill a node to here: queues are short below. Where requests alone do, copies bring relief. */
export const COPY_ROOM_SHARE = 0.85;
/** A copy never stands still: one that takes for ever holds up whatever waits for its room. */
export const COPY_SHARE_MIN = 0.02;

/**
 * The share that all copies of a node together may take.
 *
 * @param requestShare what its requests take, copies not counted
 * @example
 * copyShareOf(0.6)  // 0.25: room is left
 * copyShareOf(0.95) // 1: nothing is left to spare, relief is wanted
 */
export function copyShareOf(requestShare: number): number {
  if (requestShare >= COPY_ROOM_SHARE) return 1;
  return Math.max(COPY_SHARE_MIN, COPY_ROOM_SHARE - Math.max(0, requestShare));
}
