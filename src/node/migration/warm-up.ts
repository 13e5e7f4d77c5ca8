/**
 * Warming a follower up: the service's own hook, then recent real queries of the source, compared with its answers.
 *
 * Only answers given at the follower's own seq are compared: at another seq they may rightly differ. Handler times are
 * compared for all. A rehearsal is not load and changes nothing.
 */
import type { LocalReplica, ParticipantHost } from '../participant.ts';
import type { RecentQuery, WarmUpReport } from '../protocol.ts';
import type { Follower } from './follower.ts';
import { messageOf, within } from './refusal.ts';
import { RECENT_QUERIES_MAX } from './transfer.ts';

/** Longest run of the service's `warmUp` hook. */
export const HOOK_MS_MAX = 10_000;
/** Rehearsals give way to other events after this long. */
const SLICE_MS = 4;

export async function warmUp(
  host: ParticipantHost,
  follower: Follower,
  replica: LocalReplica,
): Promise<WarmUpReport> {
  const { clock } = host.io;
  const report: WarmUpReport = {
    hookMs: 0,
    replayed: 0,
    mismatches: 0,
    failures: 0,
    sourceMsMean: 0,
    targetMsMean: 0,
  };
  const startedMs = clock.monotonicMs();
  try {
    // Cold answers of the source would be compared with warm ones here, so the queries come first or together.
    const [queries] = await Promise.all([
      recentQueries(host, follower),
      within(clock, HOOK_MS_MAX, 'the warmUp hook', replica.state.warmUp()).finally(() => {
        report.hookMs = clock.monotonicMs() - startedMs;
      }),
    ]);
    let sourceMs = 0;
    let targetMs = 0;
    let sliceStartMs = clock.monotonicMs();
    for (const query of queries) {
      if (clock.monotonicMs() - sliceStartMs > SLICE_MS) {
        await new Promise<void>((resolve) => clock.defer(resolve));
        sliceStartMs = clock.monotonicMs();
      }
      const answer = replica.state.rehearse(query);
      report.replayed++;
      sourceMs += query.handlerMs;
      targetMs += answer.handlerMs;
      const sameSeq = query.seq === replica.state.appliedSeq;
      if (sameSeq && (answer.status !== query.status || !Buffer.from(answer.body).equals(query.body)))
        report.mismatches++;
      if (answer.status >= 500 && query.status < 500) report.failures = (report.failures ?? 0) + 1;
    }
    if (report.replayed > 0) {
      report.sourceMsMean = sourceMs / report.replayed;
      report.targetMsMean = targetMs / report.replayed;
    }
  } catch (error) {
    report.error = messageOf(error);
  }
  return report;
}

async function recentQueries(host: ParticipantHost, follower: Follower): Promise<RecentQuery[]> {
  const early = follower.recentQueries;
  follower.recentQueries = undefined;
  if (early) return early;
  const { queries } = await host
    .peer(follower.source.address)
    .call('follow.recentQueries', { shard: follower.shard, limit: RECENT_QUERIES_MAX });
  return queries;
}
