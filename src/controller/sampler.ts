/**
 * Pulls every node's load in parallel, in bounded time: a node that does not answer is marked, never waited for.
 *
 * Each node is asked for what came after the last step heard from it, so a missed pull is made good by the next.
 */
import type { Clock } from '../io/io.ts';
import type { ProcessId } from '../model/ids.ts';
import type { CopiesWork, HandlerMix, LoadSample, NodeSample } from '../model/load.ts';
import type { NodeRecord } from '../model/records.ts';
import type { NodePeer } from '../node/participant.ts';

export interface NodeReport {
  source: ProcessId;
  atMs: number;
  shards: LoadSample[];
  /** Absent from a node that does not tell its handlers apart. */
  mix?: HandlerMix;
  /** Absent from a node that does not tell what its copies take. */
  copies?: CopiesWork;
}

export interface SamplingResult {
  /** One report a node that answered; an empty one says: there, and idle. */
  reports: NodeReport[];
  nodes: Map<ProcessId, NodeSample>;
  missing: ProcessId[];
}

export class Sampler {
  readonly #peer: (address: string) => NodePeer;
  readonly #clock: Clock;
  readonly #heardToMs = new Map<ProcessId, number>();
  /** Misses in a row, for the API and logs. */
  readonly missedInARow = new Map<ProcessId, number>();

  constructor(options: { peer: (address: string) => NodePeer; clock: Clock }) {
    this.#peer = options.peer;
    this.#clock = options.clock;
  }

  async pull(nodes: readonly NodeRecord[], timeoutMs: number): Promise<SamplingResult> {
    const result: SamplingResult = { reports: [], nodes: new Map(), missing: [] };
    const present = new Set(nodes.map((node) => node.processId));
    for (const known of this.#heardToMs.keys()) if (!present.has(known)) this.#heardToMs.delete(known);
    for (const known of this.missedInARow.keys()) if (!present.has(known)) this.missedInARow.delete(known);
    await Promise.all(
      nodes.map(async (node) => {
        try {
          const sinceMs = this.#heardToMs.get(node.processId) ?? this.#clock.realtimeMs() - timeoutMs;
          const answer = await this.#peer(node.address).call('node.samples', { sinceMs }, { timeoutMs });
          this.#heardToMs.set(node.processId, answer.node.atMs);
          this.missedInARow.delete(node.processId);
          result.nodes.set(node.processId, answer.node);
          const { shards, mix, copies } = answer;
          result.reports.push({
            source: node.processId,
            atMs: answer.node.atMs,
            shards,
            ...(mix === undefined ? {} : { mix }),
            ...(copies === undefined ? {} : { copies }),
          });
        } catch {
          this.missedInARow.set(node.processId, (this.missedInARow.get(node.processId) ?? 0) + 1);
          result.missing.push(node.processId);
        }
      }),
    );
    return result;
  }
}
