/**
 * Free ports for the processes of a local cluster: below the range the system hands out to outgoing connections, so
 * that no client socket sits on one when a restarted process wants it back.
 */
import { createServer } from 'node:net';

export const PORT_FIRST = 20_000;
/** Linux hands out ephemeral ports from 32768 on. */
export const PORT_LAST = 32_767;

/** Hands out ports that were free when asked, each once. */
export class PortPicker {
  #next: number;
  readonly #host: string;
  readonly #taken = new Set<number>();

  /** `start` spreads clusters that run side by side; any number will do. */
  constructor(options: { start: number; host?: string }) {
    const span = PORT_LAST - PORT_FIRST + 1;
    this.#next = PORT_FIRST + (((Math.floor(options.start) % span) + span) % span);
    this.#host = options.host ?? '127.0.0.1';
  }

  /** `wanted` where it is free, else any. */
  async prefer(wanted: number): Promise<number> {
    if (this.#taken.has(wanted) || !(await isFree(this.#host, wanted))) return this.pick();
    this.#taken.add(wanted);
    return wanted;
  }

  /** @throws Error when every port of the range is taken. */
  async pick(): Promise<number> {
    for (let tries = 0; tries <= PORT_LAST - PORT_FIRST; tries++) {
      const port = this.#next;
      this.#next = port === PORT_LAST ? PORT_FIRST : port + 1;
      if (this.#taken.has(port) || !(await isFree(this.#host, port))) continue;
      this.#taken.add(port);
      return port;
    }
    throw new Error(
      `no port between ${PORT_FIRST} and ${PORT_LAST} is free on ${this.#host}: end what listens there and try again`,
    );
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
