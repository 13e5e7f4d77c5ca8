/** What was tuned on public series (`bench/forecast`), in one place. */
export const TUNED = {
  /** Scores that the prior loss of an expert is worth, and those after which an old one weighs little. */
  lossPrior: 6,
  lossMemory: [150, 150, 100, 70, 70, 70],
  /**
   * At horizons of so many steps or fewer a score counts by how far the experts were apart, in usual errors, within these bounds: what is
   * learnt at a job's begin is needed a day later, and most scores between say the same of all. Steps further ahead are scored so
   * seldom that 70 of them are days.
   */
  apartStepsMax: 12,
  apartLeast: 0.02,
  apartMost: 4,
  /** Losses nearer than this share of the usual deviation are the same. */
  lossFloor: 0.01,
  /** Samples that the prior of an error distribution is worth: its shape is stable, it is the spread that moves. */
  bandPrior: 400,
  bandMemory: 300,
  valuePrior: 30,
  valueMemory: 700,
  /** Scores over which the mean error at a horizon is averaged. */
  spreadMemory: 600,
  /** Spread follows the noise of now, and the forecast's level against the usual, to these powers at first. */
  noisePower: 0.3,
  levelPower: 0.15,
  /** Step with which a row learns powers of its own, per score. */
  levelPowerRate: 0.004,
  noisePowerRate: 0.01,
  /** Share of the usual deviation that a spread has at least. */
  spreadFloor: 0.02,
  /** Step of the adaptive conformal level, per score. */
  conformRate: 0.001,
  kindFloor: 0.01,
  /** Share of the errors' own median that moves p50. */
  medianShift: 0.5,
  windowPrior: 12,
  /** Spreads above the path at which its highest point is looked for. */
  windowLift: 1,
};
