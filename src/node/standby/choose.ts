/**
 * Which processes keep a standby of a shard: what the policy asks for, as far as there are nodes for it.
 *
 * Pure, so that every node with the same knowledge names the same processes. Hard: ready nodes only, never the
 * primary's own node, a region the service allows, a build that knows the shard's state, and with the spread `zones`
 * the primary's region (its cell is there, and deltas cost no egress). Soft, in this order: regions and zones that no
 * other copy is in, processes that have a copy already, then each shard's own preference.
 *
 * Invariants: never more than `count`; a process that is named and away is kept until a grace is over and somebody can
 * take its place, so that an outage of the control store makes no writes.
 */
import { type ProcessId, type Region, rendezvous, type ShardId } from '../../model/ids.ts';
import type { NodeRecord, StandbyPolicy } from '../../model/records.ts';

export interface StandbyQuestion {
  shard: ShardId;
  service: string;
  policy: StandbyPolicy;
  /** The primary's node. */
  primary: { processId: ProcessId; name: string; region: Region; zone: string };
  /** Version of the service at the primary: an older build cannot apply its deltas. */
  version: number;
  allowedRegions?: readonly Region[];
  nodes: readonly NodeRecord[];
  /** Who is named now, or has a copy for another reason. */
  present: readonly ProcessId[];
  /** Away, but not for long: it may come back, and nobody takes its place yet. */
  awaited?: (process: ProcessId) => boolean;
}

/** The standbys that should be named, the first to take over in front. */
export function chooseStandbys(question: StandbyQuestion): ProcessId[] {
  const { primary, policy, nodes, present } = question;
  const known = new Set(nodes.map((node) => node.processId));
  const awaited = present.filter(
    (process) => process !== primary.processId && !known.has(process) && question.awaited?.(process) === true,
  );
  const candidates = candidatesFor(question);
  const chosen: NodeRecord[] = [];
  while (chosen.length + awaited.length < policy.count) {
    const next = best(question, candidates, chosen);
    if (next === undefined) break;
    chosen.push(next);
  }
  const names = [...chosen.map((node) => node.processId), ...awaited].slice(0, policy.count);
  if (names.length >= policy.count) return names;
  // Nobody to put in its place: an old name costs nothing, and its process may come back.
  const old = present.filter(
    (process) => process !== primary.processId && !known.has(process) && !names.includes(process),
  );
  return [...names, ...old].slice(0, policy.count);
}

function candidatesFor(question: StandbyQuestion): NodeRecord[] {
  const { primary, policy, service, version, allowedRegions } = question;
  const latest = new Map<string, NodeRecord>();
  for (const node of question.nodes) {
    // Of two processes of one node the later start counts: the other one is dead and not yet known to be.
    const other = latest.get(node.name);
    if (other === undefined || other.startedAtMs < node.startedAtMs) latest.set(node.name, node);
  }
  return [...latest.values()].filter(
    (node) =>
      node.state === 'ready' &&
      node.processId !== primary.processId &&
      node.name !== primary.name &&
      (node.services[service]?.version ?? 0) >= version &&
      (allowedRegions === undefined || allowedRegions.includes(node.region)) &&
      (policy.spread === 'regions' || node.region === primary.region),
  );
}

/** Fewest copies in its region (where they are to be spread over regions), then in its zone, then one that has it. */
function best(
  question: StandbyQuestion,
  candidates: readonly NodeRecord[],
  chosen: readonly NodeRecord[],
): NodeRecord | undefined {
  const taken = [question.primary, ...chosen];
  const has = new Set(question.present);
  let least: readonly number[] = [];
  let equals: NodeRecord[] = [];
  for (const node of candidates) {
    if (chosen.some((other) => other.name === node.name)) continue;
    const cost = [
      question.policy.spread === 'regions' ? taken.filter((other) => other.region === node.region).length : 0,
      taken.filter((other) => other.region === node.region && other.zone === node.zone).length,
      has.has(node.processId) ? 0 : 1,
    ];
    const order = equals.length === 0 ? -1 : compare(cost, least);
    if (order < 0) {
      least = cost;
      equals = [node];
    } else if (order === 0) equals.push(node);
  }
  return rendezvous(question.shard, equals, (node) => node.name);
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}
