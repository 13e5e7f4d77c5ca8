/**
 * A primary's care for its standbys: names them in its assignment, orders them to follow, and replaces lost ones.
 *
 * The primary does this and not the controller: it knows best who follows it, its write of the assignment cannot race
 * with its own hand-off, and nobody is without standbys because a controller is. Level-based: it compares what should be
 * with what is, at each change of nodes and every few seconds, and what went wrong is found again by the next look.
 *
 * Invariants: the record changes only by compare-and-swap, with the same epoch, primary and cell (OWNERSHIP rule 1),
 * and never while a migration follows the shard or it is sealed; at most {@link AT_ONCE} shards are worked on at once,
 * so neither a lost node nor a control store that comes back makes a storm; a name is replaced only after its process
 * has been away for `standbyAwayMs`, or was started anew, and only where another can take its place.
 */
import type { Io } from '../../io/io.ts';
import type { NodeName, ProcessId, ShardId } from '../../model/ids.ts';
import type { Assignment, AssignmentRecord, NodeRecord, ServiceManifest } from '../../model/records.ts';
import type { NodePeer } from '../participant.ts';
import type { HostedReplica } from '../replica.ts';
import { chooseStandbys } from './choose.ts';

/** Shards whose standbys are being seen to at once: as many copies leave a node at most. */
export const AT_ONCE = 8;
/** Between two looks at all primaries. */
const LOOK_EVERY_MS = 2_000;
/** Longer than the standby itself waits for its copy. */
const ORDER_TIMEOUT_MS = 30_000;
const AWAY_KEPT_MAX = 1_000;

export interface UpkeepHost {
  readonly io: Pick<Io, 'clock' | 'log'>;
  readonly self: ProcessId;
  readonly services: Record<string, ServiceManifest>;
  /** See `NodeLimits`. */
  readonly standbyAwayMs: number;
  nodes(): NodeRecord[];
  node(process: ProcessId): NodeRecord | undefined;
  peer(address: string): NodePeer;
  swap(
    shard: ShardId,
    version: number,
    next: AssignmentRecord,
  ): Promise<{ won: boolean; assignment: Assignment | undefined }>;
}

export class StandbyUpkeep {
  readonly #host: UpkeepHost;
  /** Primaries here of services with standbys. */
  readonly #primaries = new Set<HostedReplica>();
  readonly #queue = new Set<HostedReplica>();
  /** Processes whose node key went, and since when. */
  readonly #away = new Map<ProcessId, { sinceMs: number; name: NodeName }>();
  #working = 0;
  #cancelLook: (() => void) | undefined;
  #closed = false;

  constructor(host: UpkeepHost) {
    this.#host = host;
  }

  /** Primaries here that should have standbys, and how many of those lack one that follows. */
  count(): { primaries: number; lacking: number } {
    let lacking = 0;
    for (const replica of this.#primaries) if (this.#lacks(replica)) lacking++;
    return { primaries: this.#primaries.size, lacking };
  }

  /** Who should stand by for the shard with that primary; `present` have a copy, or are named now. */
  wanted(shard: ShardId, primary: ProcessId, present: readonly ProcessId[]): ProcessId[] {
    const service = shard.slice(0, shard.indexOf('/'));
    const manifest = this.#host.services[service];
    if (manifest?.standbys === undefined) return [];
    const node = this.#host.node(primary);
    // A node that knows nothing of the others leaves the record as it is.
    if (node === undefined) return present.filter((process) => process !== primary);
    return chooseStandbys({
      shard,
      service,
      policy: manifest.standbys,
      primary: node,
      version: manifest.version,
      allowedRegions: manifest.allowedRegions,
      nodes: this.#host.nodes(),
      present,
      awaited: (process) => this.#awaited(process),
    });
  }

  /** The replica serves as primary from now on. */
  began(replica: HostedReplica): void {
    const { shard } = replica;
    if (this.#closed || this.#host.services[shard.slice(0, shard.indexOf('/'))]?.standbys === undefined)
      return;
    this.#primaries.add(replica);
    // After a takeover people wait for answers, and copies of large states would keep them waiting: the next look sees
    // to those. A new shard has nothing to copy.
    if (replica.epoch === 1) this.#want(replica);
    this.#cancelLook ??= this.#host.io.clock.setTimer(LOOK_EVERY_MS, () => this.#look());
  }

  nodeGone(node: NodeRecord): void {
    this.#away.delete(node.processId);
    this.#away.set(node.processId, { sinceMs: this.#host.io.clock.monotonicMs(), name: node.name });
    if (this.#away.size > AWAY_KEPT_MAX) this.#away.delete(this.#away.keys().next().value!);
  }

  /** A standby's stream ended: it may have dropped its copy. */
  standbyLeft(replica: HostedReplica): void {
    if (this.#primaries.has(replica)) this.#want(replica);
  }

  close(): void {
    this.#closed = true;
    this.#cancelLook?.();
    this.#primaries.clear();
    this.#queue.clear();
  }

  #awaited(process: ProcessId): boolean {
    const away = this.#away.get(process);
    if (away === undefined) return false;
    if (this.#host.io.clock.monotonicMs() - away.sinceMs > this.#host.standbyAwayMs) return false;
    // A later process of its node runs: that one will never be back.
    return !this.#host.nodes().some((node) => node.name === away.name);
  }

  #look(): void {
    this.#cancelLook = undefined;
    for (const replica of this.#primaries) {
      if (replica.ended || (replica.role !== 'primary' && replica.role !== 'sealed'))
        this.#primaries.delete(replica);
      else if (this.#lacks(replica)) this.#want(replica);
    }
    if (this.#primaries.size === 0) return;
    this.#cancelLook = this.#host.io.clock.setTimer(LOOK_EVERY_MS, () => this.#look());
  }

  #lacks(replica: HostedReplica): boolean {
    const { standbys } = replica.assignment;
    return this.#isChanged(replica) || standbys.some((process) => this.#isIdle(replica, process));
  }

  #isChanged({ shard, assignment }: HostedReplica): boolean {
    const wanted = this.wanted(shard, this.#host.self, assignment.standbys);
    return wanted.join() !== assignment.standbys.join();
  }

  /** Named and there, but without a stream. */
  #isIdle(replica: HostedReplica, process: ProcessId): boolean {
    return this.#host.node(process) !== undefined && !replica.standsBy(process);
  }

  #want(replica: HostedReplica): void {
    this.#queue.add(replica);
    while (this.#working < AT_ONCE) {
      const next = this.#queue.values().next().value;
      if (next === undefined) return;
      this.#queue.delete(next);
      this.#working++;
      this.#see(next)
        .catch((error) => {
          // The next look tries again.
          this.#host.io.log.info({ shard: next.shard, error: String(error) }, 'a standby was not seen to');
        })
        .finally(() => {
          this.#working--;
          const [more] = this.#queue;
          if (more !== undefined && !this.#closed) this.#want(more);
        });
    }
  }

  async #see(replica: HostedReplica): Promise<void> {
    if (!mayChange(replica)) return;
    const { shard } = replica;
    if (this.#isChanged(replica)) {
      const { epoch, primary, cell, version, standbys: before } = replica.assignment;
      const standbys = this.wanted(shard, primary, before);
      const { won, assignment } = await this.#host.swap(shard, version, { epoch, primary, cell, standbys });
      if (!won || assignment === undefined || replica.ended) return;
      if (assignment.version > replica.assignment.version) replica.assignment = assignment;
    }
    if (!mayChange(replica)) return;
    const { epoch, standbys } = replica.assignment;
    await Promise.all(
      standbys.map(async (process) => {
        const node = this.#host.node(process);
        if (node === undefined || replica.standsBy(process)) return;
        const { following, reason } = await this.#host.peer(node.address).call(
          'standby.follow',
          {
            shard,
            epoch,
            primary: this.#host.self,
            primaryAddress: this.#host.node(this.#host.self)?.address ?? '',
          },
          { timeoutMs: ORDER_TIMEOUT_MS },
        );
        if (!following) this.#host.io.log.debug({ shard, process, reason }, 'a standby does not follow yet');
      }),
    );
  }
}

/** Not while it moves or is sealed: whoever does that compares the version. */
function mayChange(replica: HostedReplica): boolean {
  return !replica.ended && replica.role === 'primary' && !replica.followed && !replica.unconfirmed;
}
