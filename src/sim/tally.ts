/**
 * The service that simulated users talk to by default, and the exact check of what they saw.
 *
 * Its state is its own history: every command leaves its name in a list, and a digest chained over that list. So the
 * final state of a shard *is* an order of the commands that took effect, and linearizability needs no search: that one
 * order must hold every acknowledged command once, explain every reply, and respect real time. The digest is replaced
 * as a whole by every command, so two histories that joined by accident show.
 */

import { Refusal } from '../model/errors.ts';
import type { ShardId } from '../model/ids.ts';
import { hash32 } from '../model/ids.ts';
import { command, defineApp, query, service } from '../sdk/index.ts';
import { describeOperation, type Operation, succeeded, sweep, type Violation } from './history.ts';
import type { Workload } from './workload.ts';

/** As old as a standby's answer may be. */
export const STALE_MS_MAX = 2_000;

/** What a shard showed: how many effects it has, and their digest. */
export interface TallyReply {
  total: number;
  digest: number;
}

export interface TallyState extends TallyReply {
  /** Name of every command that took effect, in order. */
  log: string[];
}

export function nextDigest(digest: number, name: string): number {
  return hash32(`${digest} ${name}`);
}

const show = ({ total, digest }: Readonly<TallyReply>): TallyReply => ({ total, digest });

const tally = service(
  'tally',
  {
    version: 1,
    state: (): TallyState => ({ total: 0, digest: 0, log: [] }),
    standbys: 1,
    staleReads: { atMostMs: STALE_MS_MAX },
  },
  {
    add: command((ctx, input: { name: string }): TallyReply => {
      ctx.state.log.push(input.name);
      ctx.state.total++;
      ctx.state.digest = nextDigest(ctx.state.digest, input.name);
      return show(ctx.state);
    }),
    /** A command without a delta. */
    look: command((ctx): TallyReply => show(ctx.state)),
    /** A command that throws, with what it saw. */
    refuse: command((ctx) => {
      throw new Refusal('as-asked', 'this command always throws', { extensions: { saw: show(ctx.state) } });
    }),
    get: query((ctx): TallyReply => show(ctx.state)),
    all: query((ctx): TallyState => ctx.state as TallyState),
  },
);

export const tallyApp = defineApp([tally]);

/** Six of ten are commands that change the shard; some change nothing or throw; the others are queries. */
export function tallyWorkload(shards: number): Workload {
  return {
    probe: { handler: 'all' },
    shards: Array.from({ length: shards }, (_, i) => ({ service: 'tally', key: `t${i}` })),
    next({ name, random, number }) {
      const key = `t${Math.floor(random.next() * shards)}`;
      const draw = random.next();
      const thinkMs = 20 + random.next() * 200;
      if (draw < 0.55)
        return { service: 'tally', key, handler: 'add', input: { name: `${name}:${number}` }, thinkMs };
      const handler = draw < 0.62 ? 'look' : draw < 0.66 ? 'refuse' : 'get';
      // Some who only look do not mind a little delay; some ask for more than the service gives.
      const staleMsMax =
        handler === 'get' && random.next() < 0.5 ? Math.floor(random.next() * 4_000) : undefined;
      return { service: 'tally', key, handler, thinkMs, staleMsMax };
    },
  };
}

/** What an operation showed of its shard; undefined where it showed nothing. */
function shown(operation: Operation): TallyReply | undefined {
  if (succeeded(operation)) return operation.output as TallyReply;
  const { saw } = (operation.output ?? {}) as { saw?: TallyReply };
  return operation.handler === 'refuse' ? saw : undefined;
}

/** Everything wrong with one shard, given the order of effects that its final state tells. */
export function checkTally(shard: ShardId, operations: readonly Operation[], final: TallyState): Violation[] {
  const violations: Violation[] = [];
  const say = (rule: Violation['rule'], text: string) => violations.push({ rule, text: `${shard}: ${text}` });
  const digests = [0];
  const positions = new Map<string, number>();
  for (const [index, name] of final.log.entries()) {
    digests.push(nextDigest(digests[index]!, name));
    if (positions.has(name))
      say('duplicated', `${name} took effect at ${positions.get(name)} and ${index + 1}`);
    else positions.set(name, index + 1);
  }
  if (final.total !== final.log.length || final.digest !== digests.at(-1))
    say(
      'forked',
      `${final.log.length} effects, but a total of ${final.total}, or the digest of another history`,
    );
  const sent = new Set<string>();
  /** Where an operation stands in the order of effects: an effect at its place, a reading after what it showed. */
  const rank = (operation: Operation): number | undefined => {
    if (operation.handler !== 'add') return shown(operation)?.total;
    return positions.get((operation.input as { name: string }).name);
  };
  for (const operation of operations) {
    const isAdd = operation.handler === 'add';
    const { name } = (operation.input ?? {}) as { name: string };
    if (isAdd) sent.add(name);
    if (isAdd && succeeded(operation) && !positions.has(name))
      say(
        'lost',
        `${describeOperation(operation)} was acknowledged, and is not among ${final.log.length} effects`,
      );
    const reply = shown(operation);
    if (reply === undefined) continue;
    if (isAdd && positions.has(name) && positions.get(name) !== reply.total)
      say(
        'forked',
        `${describeOperation(operation)} said it was effect ${reply.total}, it is ${positions.get(name)}`,
      );
    else if (reply.total < digests.length && reply.digest !== digests[reply.total])
      say('forked', `${describeOperation(operation)} showed another history at effect ${reply.total}`);
    else if (reply.total >= digests.length)
      say(
        'lost',
        `${describeOperation(operation)} showed ${reply.total} effects, there are ${final.log.length}`,
      );
  }
  for (const name of positions.keys())
    if (!sent.has(name)) say('forked', `${name} took effect, and was never sent`);
  // Without a known answer it may take effect at any later time: it bounds nobody.
  const timed = operations.map((one) => (shown(one) ? one : { ...one, returnedMs: undefined }));
  sweep(timed, rank, (operation, floor, floorRank) => {
    const place = rank(operation);
    const isEffect = operation.handler === 'add';
    if (place === undefined || place > floorRank || (place === floorRank && !isEffect)) return;
    say(
      'stale',
      `${describeOperation(operation)} stands at effect ${place}, though ${describeOperation(floor!)} had shown ${floorRank}`,
    );
  });
  return violations;
}
