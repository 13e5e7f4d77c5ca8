/**
 * Where a request goes. A pure function of what the gateway knows, so that every gateway with the same knowledge and
 * the same origin chooses the same node, and claims meet.
 *
 *   1 a query, and a shift is under way -> by user: `to` for the first `percent` of user hashes, `from` for the others
 *   2 a query that a standby may answer -> the usable one of primary and standbys that is nearest the origin; of equally
 *     near ones a standby, by user, so that the primary keeps its time for commands
 *   3 the primary is usable   -> the primary: commands always, since either side of a shift would only pass them on
 *   4 its process is there but does not answer -> wait for news of it, then 5
 *   5 the primary's node key is gone -> the first usable standby: it has the state
 *   6 else, or an unknown shard -> rendezvous among the usable nodes that take new shards, in the allowed region nearest
 *     the origin
 *
 * A node that gets a request for a shard it does not own forwards it, claims it, or takes it over if it may
 * (OWNERSHIP rule 1): a wrong choice costs a hop, never correctness.
 */
import { type ProcessId, type Region, rendezvous, type ShardId } from '../model/ids.ts';
import type { NodeRecord } from '../model/records.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { Route, RouteShift } from './route-table.ts';

export interface Question {
  shard: ShardId;
  service: string;
  origin: Region;
  userHash: number;
  /** May change state: only the primary runs it. */
  command: boolean;
  route: Route | undefined;
  shift: RouteShift | undefined;
  /** A query that a standby may answer. */
  mayBeStale?: boolean;
}

/** What is known of the nodes. */
export interface NodesView {
  /** In order of process id. */
  nodes(): readonly NodeRecord[];
  node(process: ProcessId): NodeRecord | undefined;
  /** Whether the node answered lately. */
  healthy(process: ProcessId): boolean;
}

export type Choice =
  | {
      node: NodeRecord;
      why: 'shift-to' | 'shift-from' | 'nearest' | 'primary' | 'unknown-shard' | 'primary-gone';
    }
  /** All candidates look dead: the view may be wrong, so one is tried all the same. */
  | { node: NodeRecord; why: 'none-healthy' }
  /** The primary's process does not answer but holds its lease: nobody else may take over yet. */
  | { wait: ProcessId }
  | { none: 'no-node' };

/** The share of users that a percent moves, in steps of a hundredth of a percent. */
export const USER_SLOTS = 10_000;

/** Whether a user is on the new side of a shift. A user who is stays so while the percent grows. */
export function isShifted(userHash: number, percent: number): boolean {
  return userHash % USER_SLOTS < percent * (USER_SLOTS / 100);
}

export function choose(question: Question, view: NodesView, topology: Topology): Choice {
  const { route, shift } = question;
  if (shift !== undefined && (!question.command || route === undefined)) {
    const shifted = isShifted(question.userHash, shift.percent);
    const side = shifted ? shift.to : shift.from;
    const node = view.node(side);
    if (node !== undefined && view.healthy(side)) return { node, why: shifted ? 'shift-to' : 'shift-from' };
    // That side is in trouble: the migration will notice; until then the primary serves everyone.
  }
  if (route === undefined) return chooseNew(question, view, topology, 'unknown-shard');
  if (question.mayBeStale === true && route.standbys !== undefined) {
    const node = nearestReplica(question, route, view, topology);
    if (node !== undefined) return { node, why: 'nearest' };
  }
  const primary = view.node(route.primary);
  if (primary === undefined) {
    const heir = route.standbys?.map((process) => view.node(process)).find((node) => mayTakeOver(node, view));
    if (heir !== undefined) return { node: heir, why: 'primary-gone' };
    return chooseNew(question, view, topology, 'primary-gone');
  }
  if (!view.healthy(route.primary)) return { wait: route.primary };
  return { node: primary, why: 'primary' };
}

function mayTakeOver(node: NodeRecord | undefined, view: NodesView): node is NodeRecord {
  return node !== undefined && node.state === 'ready' && view.healthy(node.processId);
}

function nearestReplica(
  { origin, userHash }: Question,
  { primary, standbys = [] }: Route,
  view: NodesView,
  topology: Topology,
): NodeRecord | undefined {
  let nearest: NodeRecord[] = [];
  let nearestMs = Number.POSITIVE_INFINITY;
  for (const process of [...standbys, primary]) {
    const node = view.node(process);
    if (node === undefined || !view.healthy(process)) continue;
    const ms = node.region === origin ? 0 : rttMs(topology, origin, node.region);
    if (ms > nearestMs || (ms === nearestMs && process === primary && nearest.length > 0)) continue;
    if (ms < nearestMs) nearest = [];
    nearestMs = ms;
    nearest.push(node);
  }
  return nearest[userHash % nearest.length];
}

/** Rule 6 alone: also for a request that has waited long enough for its primary. */
export function chooseNew(
  question: Question,
  view: NodesView,
  topology: Topology,
  why: 'unknown-shard' | 'primary-gone',
  except?: ProcessId,
): Choice {
  const candidates = candidatesFor(question.service, view.nodes(), except);
  if (candidates.length === 0) return { none: 'no-node' };
  const usable = candidates.filter((node) => view.healthy(node.processId));
  const pool = usable.length > 0 ? usable : candidates;
  const region = nearestRegion(pool, question.origin, topology);
  const near = pool.filter((node) => node.region === region);
  const node = rendezvous(question.shard, near, (candidate) => candidate.name)!;
  return { node, why: usable.length > 0 ? why : 'none-healthy' };
}

/**
 * Nodes that take new shards of a service: ready, allowed, and with a build that has it. Where none has it, every ready
 * node: it answers that there is no such service. Of two processes of one node only the later start counts.
 */
function candidatesFor(
  service: string,
  nodes: readonly NodeRecord[],
  except: ProcessId | undefined,
): NodeRecord[] {
  const latest = new Map<string, NodeRecord>();
  let served = false;
  for (const node of nodes) {
    if (node.state !== 'ready' || node.processId === except) continue;
    const other = latest.get(node.name);
    if (other && other.startedAtMs >= node.startedAtMs) continue;
    latest.set(node.name, node);
    served ||= node.services[service] !== undefined;
  }
  const ready = [...latest.values()];
  if (!served) return ready;
  return ready.filter((node) => {
    const manifest = node.services[service];
    return manifest && (!manifest.allowedRegions || manifest.allowedRegions.includes(node.region));
  });
}

function nearestRegion(nodes: readonly NodeRecord[], origin: Region, topology: Topology): Region {
  let best = '';
  let bestMs = Number.POSITIVE_INFINITY;
  for (const { region } of nodes) {
    if (region === best) continue;
    const ms = region === origin ? 0 : rttMs(topology, origin, region);
    if (ms < bestMs || (ms === bestMs && region < best)) {
      best = region;
      bestMs = ms;
    }
  }
  return best;
}
