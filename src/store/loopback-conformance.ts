/**
 * For tests alone: a server on a loopback port that stays free over its restart. Ports that the system hands out by
 * itself (32768 and up) may be taken by an outgoing connection while the server is away.
 */
import type { Random } from '../io/io.ts';

const PORT_FIRST = 22_000;
const PORT_COUNT = 10_000;

/** Starts on random ports until one is free. */
export async function onLoopback<Server>(
  random: Random,
  start: (address: string) => Promise<Server>,
): Promise<Server> {
  for (;;) {
    const port = PORT_FIRST + Math.floor(random.next() * PORT_COUNT);
    try {
      return await start(`127.0.0.1:${port}`);
    } catch (error) {
      if (!String(error).includes('EADDRINUSE')) throw error;
    }
  }
}
