/**
 * Frames over TCP: four bytes of length, then the frame. What one tick sends leaves in one write.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import type { Channel, Listener, Network } from './io.ts';

/** A frame beyond this closes the channel: it is a bug or an attack, never data (large things go in chunks). */
export const FRAME_BYTES_MAX = 32 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 3_000;

export class TcpNetwork implements Network {
  listen(address: string, accept: (channel: Channel) => void): Promise<Listener> {
    const { host, port } = parseAddress(address);
    const sockets = new Set<Socket>();
    const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      accept(new TcpChannel(socket));
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, exclusive: true }, () => {
        server.off('error', reject);
        const bound = server.address();
        const boundPort = typeof bound === 'object' && bound ? bound.port : port;
        resolve({
          address: `${host}:${boundPort}`,
          close: () =>
            new Promise((done) => {
              server.close(() => done());
              for (const socket of sockets) socket.destroy();
            }),
        });
      });
    });
  }

  connect(address: string): Channel {
    const { host, port } = parseAddress(address);
    const socket = createConnection({ host, port, noDelay: true, keepAlive: true });
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error('no connection in time')));
    socket.once('connect', () => socket.setTimeout(0));
    return new TcpChannel(socket);
  }
}

export function parseAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`${JSON.stringify(address)} is not host:port`);
  }
  return { host: address.slice(0, colon), port };
}

class TcpChannel implements Channel {
  onFrame: (frame: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  readonly #socket: Socket;
  #opened: boolean;
  #corked = false;
  #closed = false;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #needBytes = 4;
  #inBody = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#opened = !socket.connecting;
    if (socket.connecting) socket.once('connect', () => (this.#opened = true));
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#end(error.message));
    socket.on('close', () => this.#end('closed by the other side'));
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  get opened(): boolean {
    return this.#opened;
  }

  send(frame: Uint8Array): void {
    if (this.#closed) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(frame.byteLength, 0);
    this.#socket.write(head);
    this.#socket.write(frame);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#corked) this.#socket.uncork();
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.onClose(reason);
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    while (this.#chunkBytes >= this.#needBytes && !this.#closed) {
      const part = this.#take(this.#needBytes);
      if (this.#inBody) {
        this.#inBody = false;
        this.#needBytes = 4;
        this.onFrame(part);
        continue;
      }
      const bytes = part.readUInt32LE(0);
      if (bytes > FRAME_BYTES_MAX) {
        this.#end(`a frame of ${bytes} bytes, over the limit of ${FRAME_BYTES_MAX}`);
        return;
      }
      this.#inBody = true;
      this.#needBytes = bytes;
    }
  }

  /** The next bytes as one buffer, without copying where one chunk holds them all. */
  #take(bytes: number): Buffer {
    const first = this.#chunks[0];
    this.#chunkBytes -= bytes;
    if (first && first.length >= bytes) {
      if (first.length === bytes) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(bytes);
      return first.subarray(0, bytes);
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = all.length > bytes ? [all.subarray(bytes)] : [];
    return all.subarray(0, bytes);
  }
}
