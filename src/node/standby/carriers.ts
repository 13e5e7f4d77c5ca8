/**
 * A standby node's end of the outboxes of others: one carrier a primary's node, open while anything here follows it.
 *
 * It unpacks batches and hands each shard's part on; it knows nothing of copies. A carrier that breaks is opened anew,
 * and until then deltas come by each shard's own stream.
 */
import type { Clock, Log } from '../../io/io.ts';
import type { ProcessId } from '../../model/ids.ts';
import type { ClientStream } from '../../wire/rpc.ts';
import type { NodePeer } from '../participant.ts';
import { type DeltaSection, decodeBatch } from './delta-batch.ts';

const REOPEN_DELAY_MS = 200;
const RELEASE_DELAY_MS = 1_000;

export interface CarriersHost {
  readonly clock: Clock;
  readonly log: Log;
  peer(address: string): NodePeer;
  /** Whether anything here stands by for the process. */
  needs(process: ProcessId): boolean;
  deliver(section: DeltaSection, from: ProcessId): void;
}

interface Carrier {
  stream: ClientStream | undefined;
  releasing: boolean;
}

export class Carriers {
  readonly #host: CarriersHost;
  readonly #open = new Map<ProcessId, Carrier>();

  constructor(host: CarriersHost) {
    this.#host = host;
  }

  /** Calling it again is harmless. */
  ensure(source: { processId: ProcessId; address: string }): void {
    if (this.#open.has(source.processId)) return;
    const carrier: Carrier = { stream: undefined, releasing: false };
    this.#open.set(source.processId, carrier);
    carrier.stream = this.#host.peer(source.address).open(
      'standby.deltas',
      {},
      ({ batch }) => this.#unpack(source.processId, batch),
      () => {
        this.#host.clock.setTimer(REOPEN_DELAY_MS, () => {
          if (this.#open.get(source.processId) !== carrier) return;
          this.#open.delete(source.processId);
          if (this.#host.needs(source.processId)) this.ensure(source);
        });
      },
    );
  }

  /** Something here ceased to follow the process; looked at later, once for the thousands that may do so together. */
  release(process: ProcessId): void {
    const carrier = this.#open.get(process);
    if (carrier === undefined || carrier.releasing) return;
    carrier.releasing = true;
    this.#host.clock.setTimer(RELEASE_DELAY_MS, () => {
      carrier.releasing = false;
      if (this.#open.get(process) !== carrier || this.#host.needs(process)) return;
      this.#open.delete(process);
      carrier.stream?.cancel();
    });
  }

  #unpack(from: ProcessId, batch: Uint8Array): void {
    let sections: DeltaSection[];
    try {
      sections = decodeBatch(batch);
    } catch (error) {
      // What it held is missed by the next batch: the copies then open their own streams anew.
      this.#host.log.warn({ from, error: String(error) }, 'a batch of deltas was no batch');
      return;
    }
    for (const section of sections) this.#host.deliver(section, from);
  }
}
