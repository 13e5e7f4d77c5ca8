/**
 * Rules of ownership that a test may take out, one at a time, to prove that the simulated world notices.
 *
 * A mutation is asked for where its rule is enforced and nowhere else. The set is an argument of the node and of the
 * cell engine that only the simulated world gives; there is no flag, no variable of the environment and no setting
 * that reaches it, so a process that was started from the command line keeps every rule.
 */

export type Mutation =
  // Rule 1: who owns.
  /** The node key is written also where it is there. */
  | 'registration-overwrites'
  /** A takeover does not compare that the old primary's node key is absent. */
  | 'takeover-from-the-living'
  /** After registering again by-lease answers go on without reading the assignments first. */
  | 'no-catch-up'
  /** A restarted process has the id of its former life. */
  | 'process-id-reused'
  /** An epoch that was opened here before is opened again. */
  | 'epoch-reopened'
  /** An owner that cannot reach its cell stays named. */
  | 'cut-off-owner-stays'
  // Rule 2: opening.
  /** Raise first, read the log later, trust the fence of the raise. */
  | 'log-read-apart-from-fence'
  /** Read the log first, raise later. */
  | 'read-before-raise'
  // Rule 3: appending.
  /** A seq beyond end + 1 is accepted. */
  | 'append-over-a-gap'
  /** The fence is not compared. */
  | 'append-unfenced'
  // Rule 4: answering.
  /** What only read is answered before what it read is durable. */
  | 'queries-ungated'
  /** Commands are answered before their delta is durable. */
  | 'commands-ungated'
  /** A command without a delta, or one that throws, is answered without lease and fence check. */
  | 'no-delta-unproven'
  /** Queries are answered without lease and fence check. */
  | 'answer-unproven'
  /** A lease counts in full, from when the keep-alive was answered. */
  | 'no-lease-margin'
  // Rules 5 and 6: sealing and unsealing.
  /** The hand-off's swap does not compare the version. */
  | 'swap-without-version'
  /** A swap without an answer counts as lost, and the source serves again without touching the assignment. */
  | 'unseal-without-touch'
  /** The target runs commands before the swap that it makes for the source is known to have happened. */
  | 'serve-before-swap'
  // Rule 7: streaming.
  /** Followers get deltas before they are durable. */
  | 'stream-before-durable'
  // Rule 8: maintenance.
  /** Snapshots, trims and deletes do not compare the fence. */
  | 'maintenance-unfenced'
  /** An older snapshot replaces a newer one. */
  | 'snapshot-goes-back'
  /** The idempotency window is left out of snapshots. */
  | 'window-not-in-snapshot'
  // Rule 9: moving.
  /** Sealed without waiting for the appends in flight. */
  | 'swap-before-appends-resolve'
  /** The new cell's log is copied before its fence is raised. */
  | 'copy-before-fence'
  /** The new cell's log need not reach the end of the old one. */
  | 'tail-not-copied';

/** Rules that are switched off; absent everywhere but in the simulated world. */
export type Mutations = ReadonlySet<Mutation>;
