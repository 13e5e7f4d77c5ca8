/**
 * What a migration may be told: pace of the shift, moment of the hand-off, policy of the gates, and the time-out of
 * every phase. Two phases never share one time-out (SPEC.md, M7).
 */

export interface MigrationSettings {
  /** `steps`: 1, 5, 25, 50, 100. `linear`: 1 to 100 by one, each for {@link linearStepMs}. Or percents of your own. */
  profile: 'steps' | 'linear' | number[];
  linearStepMs: number;
  /** At which step the target becomes primary: the first, the first of 50 % or more, or the last. */
  handOffAt: 'first' | 'middle' | 'last';
  /** A step ends when the target has executed so many requests in it ... */
  stepSamplesMin: number;
  /** ... but not before so long ... */
  stepDwellMsMin: number;
  /** ... and at the latest after so long. */
  stepDwellMsMax: number;
  /** With fewer users in ten seconds, traffic cannot be split: hand off at once. */
  usersMin: number;
  /** Between two looks at the replicas. */
  pollMs: number;
  /** A follower this few deltas behind is close enough. */
  lagDeltasMax: number;
  gates: GatePolicy;
  /** Copies give way to requests at both ends. */
  giveWay: boolean;
  /** Keep the old primary as a follower instead of dropping it. */
  keepStandby: boolean;
  /** No byte of the transfer in this time: roll back. */
  transferStallMsMax: number;
  /** The follower did not come near in this time: roll back. */
  followMsMax: number;
  warmUpMsMax: number;
  /** A step of the shift that nobody could judge (no status at all) in this time: roll back. */
  blindMsMax: number;
  /** The hand-off, pre-copy included, gave no known outcome in this time. */
  handOffMsMax: number;
  /** The same for the hand-off back. */
  handBackMsMax: number;
  decommissionMsMax: number;
  rollBackMsMax: number;
  /** Attempts of an order that was refused or not heard. */
  attemptsMax: number;
}

export interface GatePolicy {
  /** Executed requests before handler times are judged. */
  samplesMin: number;
  /** The target may err this much more often than the source, as a share of its requests ... */
  errorShareExtraMax: number;
  /** ... and fewer errors than this never count. */
  errorsMin: number;
  /** The target's mean handler time may be this many times the source's ... */
  slowFactorMax: number;
  /** ... plus this. */
  slowExtraMs: number;
  /**
   * Answers in the warm-up that may differ from the source's at the same seq. Unlimited by default: a query may read
   * the clock. An answer that *fails* only at the target always counts.
   */
  mismatchesMax: number;
  /** Users' requests measured since the hand-off before their latency is judged. */
  latencySamplesMin: number;
  /** Users of an origin may wait this many times what they were promised ... */
  latencyFactorMax: number;
  /** ... plus this. */
  latencyExtraMs: number;
}

export const SETTINGS_DEFAULT: MigrationSettings = {
  profile: 'steps',
  linearStepMs: 1_000,
  handOffAt: 'middle',
  stepSamplesMin: 30,
  stepDwellMsMin: 0,
  stepDwellMsMax: 10_000,
  usersMin: 20,
  pollMs: 250,
  lagDeltasMax: 50,
  gates: {
    samplesMin: 10,
    errorShareExtraMax: 0.05,
    errorsMin: 3,
    slowFactorMax: 3,
    slowExtraMs: 10,
    mismatchesMax: Number.MAX_SAFE_INTEGER,
    latencySamplesMin: 30,
    latencyFactorMax: 1.5,
    latencyExtraMs: 50,
  },
  giveWay: true,
  keepStandby: false,
  transferStallMsMax: 20_000,
  followMsMax: 30_000,
  warmUpMsMax: 15_000,
  blindMsMax: 20_000,
  handOffMsMax: 120_000,
  handBackMsMax: 120_000,
  decommissionMsMax: 30_000,
  rollBackMsMax: 60_000,
  attemptsMax: 4,
};

/** Nobody polls faster, whatever is configured. */
export const POLL_MS_MIN = 50;

export type SettingsChange = Partial<Omit<MigrationSettings, 'gates'>> & { gates?: Partial<GatePolicy> };

export function withSettings(base: MigrationSettings, change: SettingsChange = {}): MigrationSettings {
  return { ...base, ...change, gates: { ...base.gates, ...change.gates } };
}

/** Percents of the shift, ascending, ending in 100. @throws RangeError where they do not ascend to 100. */
export function percentsOf(settings: MigrationSettings): number[] {
  if (settings.profile === 'steps') return [1, 5, 25, 50, 100];
  if (settings.profile === 'linear') return Array.from({ length: 100 }, (_, index) => index + 1);
  const percents = settings.profile;
  const ascends = percents.every((percent, index) => percent > (percents[index - 1] ?? 0) && percent <= 100);
  if (!ascends || percents.at(-1) !== 100)
    throw new RangeError(`the percents ${percents.join(', ')} do not ascend from above 0 to 100`);
  return percents;
}

/** Index of the step at which the hand-off comes. */
export function handOffStep(settings: MigrationSettings): number {
  const percents = percentsOf(settings);
  if (settings.handOffAt === 'first') return 0;
  if (settings.handOffAt === 'last') return percents.length - 1;
  return percents.findIndex((percent) => percent >= 50);
}

/** Shortest and longest time of a step. */
export function dwellOf(settings: MigrationSettings): { minMs: number; maxMs: number } {
  const { profile, linearStepMs, stepDwellMsMin, stepDwellMsMax } = settings;
  if (profile === 'linear') return { minMs: linearStepMs, maxMs: linearStepMs };
  return { minMs: stepDwellMsMin, maxMs: Math.max(stepDwellMsMin, stepDwellMsMax) };
}

/** Short dwells need close looks; long ones do not. */
export function pollMsOf(settings: MigrationSettings): number {
  return Math.max(POLL_MS_MIN, Math.min(settings.pollMs, dwellOf(settings).maxMs / 4));
}
