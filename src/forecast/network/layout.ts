/**
 * The shape of what the trained network is given and answers, shared by the feature writer, the inference, the ONNX
 * export and the training script (which reads it as JSON from `training/make-arrays.ts`).
 *
 * A row of context (one series) and a row for each horizon. Values are `z = (x - centre) / scale`, see features.ts;
 * `u` is asinh(z).
 */

/** Newest steps looked at one by one; further back only seasons are looked up. */
export const WINDOW_STEPS = 512;
/** u of the newest steps, newest first. */
export const NEWEST_STEPS = 32;
/** Edges, in steps back, of the windows whose mean follows. */
export const MEAN_EDGES = [32, 48, 64, 96, 128, 192, 256, 384, 512] as const;
/** Windows whose largest value follows. */
export const MAX_WINDOWS = [8, 16, 32, 64, 128, 512] as const;
/** Windows whose smallest value follows. */
export const MIN_WINDOWS = [8, 32, 128, 512] as const;
/** Windows of mean absolute change. */
export const CHANGE_WINDOWS = [8, 32, 128] as const;
/** Windows of mean absolute deviation. */
export const DEVIATION_WINDOWS = [16, 64, 512] as const;
/** Lags of the autocorrelation over the newest {@link CORRELATION_STEPS}. */
export const CORRELATION_LAGS = [1, 2, 4, 8, 16] as const;
export const CORRELATION_STEPS = 128;
/** Numbers for each of the two periods. */
export const PERIOD_FEATURES = 5;
export const PERIOD_SLOTS = 2;

/** Numbers of a context row that the network sees. */
export const CONTEXT_FEATURES =
  NEWEST_STEPS +
  (MEAN_EDGES.length - 1) +
  MAX_WINDOWS.length +
  MIN_WINDOWS.length +
  CHANGE_WINDOWS.length +
  DEVIATION_WINDOWS.length +
  5 +
  1 +
  CORRELATION_LAGS.length +
  PERIOD_FEATURES * PERIOD_SLOTS;
/** Then centre and scale, both over the row's level: what turns z back into values. */
export const CONTEXT_WIDTH = CONTEXT_FEATURES + 2;

/** Forecasts that the network mixes and corrects, see `writeHorizon`. The last is zero load. */
export const CANDIDATES = 15;
export const CANDIDATE_NAMES = [
  'last',
  'level-2',
  'level-8',
  'level-32',
  'mean-128',
  'trend-16',
  'trend-64',
  'season-1',
  'profile-1',
  'profile-1-added',
  'profile-1-scaled',
  'season-2',
  'profile-2',
  'profile-2-added',
  'zero',
] as const;
/** Numbers of a horizon row that the network sees: u of the candidates, then nine about the horizon. */
export const HORIZON_FEATURES = CANDIDATES + 9;
/** Then z of the candidates. */
export const HORIZON_WIDTH = HORIZON_FEATURES + CANDIDATES;

/** Quantiles answered for the value at a horizon. */
export const QUANTILES = [0.1, 0.5, 0.9, 0.99] as const;
/** Quantiles answered for the largest value from the next step to the horizon. */
export const MAX_QUANTILES = [0.5, 0.9, 0.99] as const;
/** Weights of the candidates, a correction, distances of the quantiles and of those of the maximum. */
export const HEADS = CANDIDATES + 1 + (QUANTILES.length - 1) + MAX_QUANTILES.length;
/** Answers: {@link QUANTILES} then {@link MAX_QUANTILES}, in z. */
export const ANSWERS = QUANTILES.length + MAX_QUANTILES.length;

/** The correction lies within sinh of this, in units of scale. */
export const CORRECTION_MAX = 3;
/** The logarithm of a quantile's distance, in units of scale, lies between these. */
export const DISTANCE_LOG_MIN = -10;
export const DISTANCE_LOG_MAX = 6;
