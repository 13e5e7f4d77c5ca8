/**
 * Connections to other nodes: one an address, made on first use, closed when the node's key goes.
 */
import type { Io } from '../io/io.ts';
import type { ProcessId } from '../model/ids.ts';
import { type ClientStream, RpcClient, type RpcError } from '../wire/rpc.ts';
import type { NodePeer } from './participant.ts';
import type { NodeCalls, NodeStreams } from './protocol.ts';

/** More nodes than this at once: the one used longest ago is closed. */
const PEERS_MAX = 512;

class WirePeer implements NodePeer {
  readonly client: RpcClient;

  constructor(client: RpcClient) {
    this.client = client;
  }

  call<Method extends keyof NodeCalls>(
    method: Method,
    payload: NodeCalls[Method][0],
    options?: { timeoutMs?: number },
  ): Promise<NodeCalls[Method][1]> {
    return this.client.call(method, payload, options);
  }

  open<Stream extends keyof NodeStreams>(
    stream: Stream,
    payload: NodeStreams[Stream][0],
    onItem: (item: NodeStreams[Stream][1]) => void,
    onEnd: (error: RpcError | undefined) => void,
  ): ClientStream {
    return this.client.open(stream, payload, onItem, onEnd);
  }
}

export class Peers {
  readonly #io: Pick<Io, 'network' | 'clock'>;
  readonly #token: string;
  readonly #identity: ProcessId;
  /** In order of last use: a Map keeps insertion order. */
  readonly #peers = new Map<string, WirePeer>();
  #closed = false;

  constructor(options: { io: Pick<Io, 'network' | 'clock'>; token: string; identity: ProcessId }) {
    this.#io = options.io;
    this.#token = options.token;
    this.#identity = options.identity;
  }

  peer(address: string): NodePeer {
    let peer = this.#peers.get(address);
    if (peer === undefined) {
      const client = new RpcClient({
        network: this.#io.network,
        clock: this.#io.clock,
        address,
        token: this.#token,
        identity: this.#identity,
      });
      peer = new WirePeer(client);
      // Closed already: the client refuses every call.
      if (this.#closed) client.close();
      else if (this.#peers.size >= PEERS_MAX) this.drop(this.#peers.keys().next().value!);
    } else this.#peers.delete(address);
    if (!this.#closed) this.#peers.set(address, peer);
    return peer;
  }

  /** The node at this address is gone: calls under way reject as `unavailable`. */
  drop(address: string): void {
    const peer = this.#peers.get(address);
    this.#peers.delete(address);
    peer?.client.close();
  }

  close(): void {
    this.#closed = true;
    for (const address of [...this.#peers.keys()]) this.drop(address);
  }
}
