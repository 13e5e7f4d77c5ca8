/** A process's way out that can be cut: connections break at once, and no new one stands until it is mended. */
import type { Channel, Network } from '../../../src/io/io.ts';
import { TcpNetwork } from '../../../src/io/tcp-network.ts';

/** Nobody listens there. */
const NOWHERE = '127.0.0.1:1';

export class CutNetwork implements Network {
  readonly #inner = new TcpNetwork();
  readonly #channels = new Set<Channel>();
  #isCut = false;

  listen(address: string, accept: (channel: Channel) => void) {
    return this.#inner.listen(address, accept);
  }

  connect(address: string): Channel {
    const channel = this.#inner.connect(this.#isCut ? NOWHERE : address);
    this.#channels.add(channel);
    return channel;
  }

  cut(): void {
    this.#isCut = true;
    for (const channel of this.#channels) channel.close();
    this.#channels.clear();
  }

  mend(): void {
    this.#isCut = false;
  }
}
