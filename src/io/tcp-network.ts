/**
 * Frames over TCP: four bytes of length, then the frame. What one turn of the event loop sends leaves in one write.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import type { Channel, Listener, Network } from './io.ts';
import { type Flushable, flushThisTurn } from './turn.ts';

/** A frame beyond this closes the channel: it is a bug or an attack, never data (large things go in chunks). */
export const FRAME_BYTES_MAX = 32 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 3_000;
const HEAD_BYTES = 4;
/** Frames up to this size are copied together; larger ones are handed over as they are. */
const COPIED_BYTES_MAX = 16 * 1024;
const SLAB_BYTES = 64 * 1024;
const EMPTY = Buffer.alloc(0);

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

class TcpChannel implements Channel, Flushable {
  onFrame: (frame: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  readonly #socket: Socket;
  #opened: boolean;
  #closed = false;
  /** Frames of this turn, one after the other, from `#start` to `#end`. */
  #slab = EMPTY;
  #start = 0;
  #end = 0;
  #flushing = false;
  /** The beginning of a frame whose rest has not come; `#needBytes` with its head. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #needBytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#opened = !socket.connecting;
    if (socket.connecting) socket.once('connect', () => (this.#opened = true));
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#broken(error.message));
    socket.on('close', () => this.#broken('closed by the other side'));
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#end - this.#start;
  }

  get opened(): boolean {
    return this.#opened;
  }

  send(frame: Uint8Array): void {
    if (this.#closed) return;
    const bytes = frame.byteLength;
    if (bytes > COPIED_BYTES_MAX) {
      this.flush();
      const head = Buffer.allocUnsafe(HEAD_BYTES);
      head.writeUInt32LE(bytes, 0);
      this.#socket.cork();
      this.#socket.write(head);
      this.#socket.write(frame);
      this.#socket.uncork();
      return;
    }
    if (this.#end + HEAD_BYTES + bytes > this.#slab.length) {
      this.flush();
      if (this.#slab.length - this.#start < HEAD_BYTES + bytes) {
        // What was written may still be on its way: it keeps the old slab.
        this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
        this.#start = 0;
        this.#end = 0;
      }
    }
    // Copying a small frame is cheaper than a gathered write with a piece for it and one for its head.
    this.#slab.writeUInt32LE(bytes, this.#end);
    this.#slab.set(frame, this.#end + HEAD_BYTES);
    this.#end += HEAD_BYTES + bytes;
    if (!this.#flushing) {
      this.#flushing = true;
      flushThisTurn(this);
    }
  }

  flush(): void {
    this.#flushing = false;
    if (this.#start === this.#end || this.#socket.destroyed) return;
    this.#socket.write(this.#slab.subarray(this.#start, this.#end));
    // Nothing left with the socket: the operating system has its copy, and the slab can be filled from the beginning.
    if (this.#socket.writableLength === 0) this.#end = 0;
    this.#start = this.#end;
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #broken(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.onClose(reason);
  }

  #receive(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#parts.length > 0) {
      this.#parts.push(chunk);
      this.#partBytes += chunk.length;
      if (this.#partBytes < this.#needBytes) return;
      bytes = Buffer.concat(this.#parts, this.#partBytes);
      this.#parts = [];
    }
    let at = 0;
    while (!this.#closed) {
      const left = bytes.length - at;
      if (left < HEAD_BYTES) {
        this.#needBytes = HEAD_BYTES;
        break;
      }
      const frameBytes = bytes.readUInt32LE(at);
      if (frameBytes > FRAME_BYTES_MAX) {
        this.#broken(`a frame of ${frameBytes} bytes, over the limit of ${FRAME_BYTES_MAX}`);
        return;
      }
      if (left < HEAD_BYTES + frameBytes) {
        this.#needBytes = HEAD_BYTES + frameBytes;
        break;
      }
      at += HEAD_BYTES + frameBytes;
      // Not copied where one chunk holds it all.
      this.onFrame(bytes.subarray(at - frameBytes, at));
    }
    if (at === bytes.length || this.#closed) return;
    this.#parts.push(at === 0 ? bytes : bytes.subarray(at));
    this.#partBytes = bytes.length - at;
  }
}
