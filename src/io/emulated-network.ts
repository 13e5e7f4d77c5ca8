/**
 * A network whose frames take half the published round trip between the regions of both ends, each way.
 *
 * One machine then behaves as several regions for everything that goes through {@link Network}: requests, node to
 * node, cells and control store. Both ends must be emulated: the connecting side first says where it is.
 *
 * Timers have a resolution of 1 ms and are late rather than early: a round trip below {@link NEAR_MS} (0.8 ms inside a
 * region) made of two delays would take 2.6 ms. There the connecting side waits for the whole of it, in one delay.
 */
import type { Region } from '../model/ids.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { Channel, Clock, Listener, Network } from './io.ts';

const NEAR_MS = 2;

/** Bytes this process sent to other regions over all its emulated networks: what its supervisor reports. */
let sentBetweenRegions = 0;
export function bytesBetweenRegions(): number {
  return sentBetweenRegions;
}

export class EmulatedNetwork implements Network {
  readonly #inner: Network;
  readonly #clock: Clock;
  readonly #region: Region;
  readonly #topology: Topology;
  /** Bytes sent to each other region, frames only: what an operator would pay egress for. */
  readonly bytesTo: Record<Region, number> = {};

  constructor(options: { inner: Network; clock: Clock; region: Region; topology: Topology }) {
    this.#inner = options.inner;
    this.#clock = options.clock;
    this.#region = options.region;
    this.#topology = options.topology;
  }

  listen(address: string, accept: (channel: Channel) => void): Promise<Listener> {
    return this.#inner.listen(address, (raw) => {
      const channel = new DelayedChannel(raw, this.#clock);
      // The first frame is the caller's region; only then is there a distance, and only then a channel to accept.
      raw.onFrame = (hello) => {
        const region = new TextDecoder().decode(hello);
        channel.start(this.#delayMs(region, 'accepted'), (bytes) => this.#count(region, bytes));
        accept(channel);
        raw.send(new TextEncoder().encode(this.#region));
      };
    });
  }

  connect(address: string): Channel {
    const raw = this.#inner.connect(address);
    const channel = new DelayedChannel(raw, this.#clock);
    raw.onFrame = (hello) => {
      const region = new TextDecoder().decode(hello);
      channel.start(this.#delayMs(region, 'connected'), (bytes) => this.#count(region, bytes));
    };
    raw.send(new TextEncoder().encode(this.#region));
    return channel;
  }

  emulatedRoundTripMs(region = this.#topology.regions[0]!): number {
    return rttMs(this.#topology, this.#region, region);
  }

  #delayMs(to: Region, side: 'connected' | 'accepted'): number {
    const roundTripMs = rttMs(this.#topology, this.#region, to);
    if (roundTripMs >= NEAR_MS) return roundTripMs / 2;
    return side === 'connected' ? roundTripMs : 0;
  }

  #count(to: Region, bytes: number): void {
    if (to === this.#region) return;
    this.bytesTo[to] = (this.bytesTo[to] ?? 0) + bytes;
    sentBetweenRegions += bytes;
  }
}

/** Holds each outgoing frame for a delay; the order stays. The way in is delayed by the other side. */
class DelayedChannel implements Channel {
  onFrame: (frame: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  readonly #raw: Channel;
  readonly #clock: Clock;
  readonly #queue: { dueMs: number; frame: Uint8Array }[] = [];
  #queuedBytes = 0;
  #delayMs: number | undefined;
  #count: (bytes: number) => void = () => {};
  #closing = false;
  #timerSet = false;

  constructor(raw: Channel, clock: Clock) {
    this.#raw = raw;
    this.#clock = clock;
    raw.onClose = (reason) => {
      this.#queue.length = 0;
      this.onClose(reason);
    };
  }

  /** Called once, when the distance is known; frames sent before start their way now. */
  start(delayMs: number, count: (bytes: number) => void): void {
    this.#delayMs = delayMs;
    this.#count = count;
    this.#raw.onFrame = (frame) => this.onFrame(frame);
    const dueMs = this.#clock.monotonicMs() + delayMs;
    for (const waiting of this.#queue) {
      waiting.dueMs = dueMs;
      count(waiting.frame.byteLength);
    }
    this.#arm();
  }

  get bufferedBytes(): number {
    return this.#raw.bufferedBytes + this.#queuedBytes;
  }

  get opened(): boolean | undefined {
    return this.#raw.opened;
  }

  send(frame: Uint8Array): void {
    if (this.#closing) return;
    if (this.#delayMs === 0 && this.#queue.length === 0) {
      this.#count(frame.byteLength);
      this.#raw.send(frame);
      return;
    }
    this.#queue.push({ dueMs: this.#clock.monotonicMs() + (this.#delayMs ?? 0), frame });
    this.#queuedBytes += frame.byteLength;
    if (this.#delayMs !== undefined) {
      this.#count(frame.byteLength);
      this.#arm();
    }
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#queue.length === 0 || this.#delayMs === undefined) this.#raw.close();
  }

  #arm(): void {
    const first = this.#queue[0];
    if (this.#timerSet || !first) return;
    this.#timerSet = true;
    this.#clock.setTimer(Math.max(0, first.dueMs - this.#clock.monotonicMs()), () => {
      this.#timerSet = false;
      // Timers have a resolution of 1 ms: what is due within the half of it goes now.
      const nowMs = this.#clock.monotonicMs() + 0.5;
      let sent = 0;
      for (const { dueMs, frame } of this.#queue) {
        if (dueMs > nowMs) break;
        this.#raw.send(frame);
        this.#queuedBytes -= frame.byteLength;
        sent++;
      }
      this.#queue.splice(0, sent);
      if (this.#closing && this.#queue.length === 0) this.#raw.close();
      else this.#arm();
    });
  }
}
