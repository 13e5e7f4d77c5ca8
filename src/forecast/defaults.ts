/** Every number of the forecaster that is a choice, with the reason for its value. Steps are measuring steps. */

/** Step of the online quantile trackers, in units of the residual's own scale: first, last, and how fast it falls. */
export const TRACK_RATE_FIRST = 0.3;
export const TRACK_RATE_LAST = 0.03;
/** Looking for periods: first after this many steps, then each time the history has grown by an eighth ... */
export const PERIOD_LOOK_FIRST_STEPS = 24;
/** ... at most this many steps apart. */
export const PERIOD_LOOK_STEPS_MAX = 256;

/**
 * Memories of a shard's share of its group's traffic, half-lives in steps, slowest first. The slowest grows with the
 * detected period (several days, so that every origin has been awake); the others see popularity move, down to a
 * flash crowd within seconds.
 */
export const SHARE_HALF_LIVES_STEPS = [4000, 120, 12, 3] as const;
export const SHARE_SLOW_PERIODS = 12;
/** Requests' worth of belief each memory gives to the next slower one: a fast memory must see several to differ. */
export const SHARE_PRIOR_REQUESTS = [0, 6, 3, 2] as const;
/** Belief in each memory before a shard has said anything: shares mostly stay. */
export const SHARE_PRIOR_BELIEF = [0.9, 0.08, 0.015, 0.005] as const;
/** Evidence kept from step to step: a crowd that has left is forgotten in some ten steps. */
export const BELIEF_KEEP = 0.9;
/** Requests come in bursts of one user: their evidence is tempered by this much. */
export const BELIEF_TEMPER = 0.5;
/** Requests' worth of belief that a shard is as popular as its service's mean. */
export const POPULARITY_PRIOR_REQUESTS = 0.5;
/** Spread of origin mixes among shards, as the Dirichlet concentration; learnt between these bounds, starting at 1. */
export const MIX_CONCENTRATION_MIN = 0.05;
export const MIX_CONCENTRATION_MAX = 50;
/** Steps between learning it anew: it is a sum over all shards. */
export const MIX_LEARN_STEPS = 16;

/**
 * Shards with models of their own, and the rate in requests a step from which a shard's own series says something. One costs
 * some 15 kB, 15 us a step and 24 us a forecast, and the network 35 us a step more: at the limit 31 MB and, with steps of a
 * second, a twelfth of a core, with the network a sixth.
 */
export const HOT_SHARDS_MAX = 2048;
export const HOT_REQUESTS_PER_STEP = 6;
/** A hot shard keeps its models until it falls below this share of the entry rate. */
export const HOT_KEEP_SHARE = 0.5;

/** Shards whose forecasts are checked against the truth each step, to calibrate the bands of their rate class. */
export const CALIBRATED_PER_STEP = 64;
/** Steps ahead at which they are checked. */
export const CALIBRATION_LEAD_STEPS = 4;
/** Half-life, in requests, of a shard's means per request (CPU, bytes): enough to average, few enough to follow a release. */
export const MEANS_HALF_LIFE_REQUESTS = 400;
/** Requests' worth of belief in the service's means. */
export const MEANS_PRIOR_REQUESTS = 5;

/**
 * Handlers of a service, and of all, whose shares of requests are rows of their own; the others of a service are one. A row
 * costs about what a busy shard's does ({@link HOT_SHARDS_MAX}): all of them, with steps of a second, a hundredth of a core.
 */
export const MIX_HANDLERS_MAX = 32;
export const MIX_ROWS_MAX = 256;
/** A handler's share is taken over as many steps as it takes, at its rate of late, to be asked so often ... */
export const MIX_SMOOTH_REQUESTS = 16;
/** ... up to so many, and one of so many parts of its period: more would hide what comes by the hour. */
export const MIX_SMOOTH_STEPS_MAX = 64;
export const MIX_SMOOTH_PERIOD_PARTS = 24;
/** Periods over which it is learnt how far foreseen mixes came true. */
export const MIX_TRUST_PERIODS = 4;
/** How many times more or less than its mean a request of a shard may be said to take because of the mix. */
export const MIX_FACTOR_MAX = 16;
/** Steps without any mix after which it corrects nothing: nodes of an older build tell none. */
export const MIX_SILENT_STEPS = 60;
/** A handler that nobody asked for two weeks is forgotten: what comes by the week is not. */
export const MIX_FORGET_S = 14 * 86_400;
