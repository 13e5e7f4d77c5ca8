/**
 * Holds one series' forecasts against what came: how often p90 held, and the loss against seasonal naive, per horizon.
 *
 * Boundary: pure. Invariants: a few numbers in flight a horizon; a missing step is held against nothing.
 */

/** Horizons that are watched, in steps. */
export const WATCHED_STEPS = [1, 8, 60] as const;
/** Answers in flight a horizon. */
const IN_FLIGHT = 8;
/** What a score keeps of its weight with each newer one: about the last two hundred count. */
const KEEP = 0.995;
/** Columns of a horizon: weight, p90 held, own loss, naive's loss, 1 while naive is given. */
const COLUMNS = 5;
/** Naive is given above the first of these ratios, once so many scores say so, and no more below the second. */
const WORSE = 1.15;
const GOOD_AGAIN = 1.05;
const SCORES_MIN = 50;

export interface Watched {
  /** Steps ahead. */
  ahead: number;
  /** Decayed count of what was held against the truth. */
  scores: number;
  /** Share of values at or below p90; 0.9 before there are any. */
  coverageP90: number;
  /** Mean absolute error of p50 over that of seasonal naive; 1 before there are any. */
  lossAgainstNaive: number;
  /** Naive is clearly better. */
  fallsBack: boolean;
}

interface Said {
  due: number;
  p50: number;
  p90: number;
  naive: number;
}

export class ForecastWatch {
  readonly #sums = new Float64Array(WATCHED_STEPS.length * COLUMNS);
  readonly #said: Said[][] = WATCHED_STEPS.map(() => []);

  /**
   * The value of a step, then what is said after it.
   *
   * @param step its number, one above the last
   * @param value NaN where missing
   */
  observe(
    step: number,
    value: number,
    say: (ahead: number) => { p50: number; p90: number },
    naive: (ahead: number) => number,
  ): void {
    WATCHED_STEPS.forEach((ahead, h) => {
      const said = this.#said[h]!;
      if (said[0] !== undefined && said[0].due <= step) {
        const due = said.shift()!;
        if (due.due === step && !Number.isNaN(value)) this.#score(h * COLUMNS, due, value);
      }
      if (Number.isNaN(value) || step % Math.ceil(ahead / IN_FLIGHT) !== 0) return;
      const { p50, p90 } = say(ahead);
      said.push({ due: step + ahead, p50, p90, naive: naive(ahead) });
    });
  }

  at(ahead: number): Watched {
    let h = 0;
    while (h < WATCHED_STEPS.length - 1 && WATCHED_STEPS[h + 1]! <= ahead) h++;
    const [scores, held, own, naive, back] = this.#sums.subarray(h * COLUMNS, (h + 1) * COLUMNS);
    return {
      ahead: WATCHED_STEPS[h]!,
      scores: scores!,
      coverageP90: (held! + 0.9) / (scores! + 1),
      lossAgainstNaive: naive! > 0 ? own! / naive! : 1,
      fallsBack: back === 1,
    };
  }

  /** What is in flight is not kept: it costs a few scores. */
  save(): number[] {
    return [...this.#sums];
  }

  load(saved: readonly number[]): void {
    this.#sums.set(saved.slice(0, this.#sums.length));
  }

  #score(at: number, due: Said, value: number): void {
    const sums = this.#sums;
    for (let i = 0; i < COLUMNS - 1; i++) sums[at + i]! *= KEEP;
    sums[at]! += 1;
    if (value <= due.p90) sums[at + 1]! += 1;
    sums[at + 2]! += Math.abs(value - due.p50);
    sums[at + 3]! += Math.abs(value - due.naive);
    const worse = sums[at]! >= SCORES_MIN && sums[at + 2]! > WORSE * sums[at + 3]!;
    if (worse) sums[at + 4] = 1;
    else if (sums[at + 2]! < GOOD_AGAIN * sums[at + 3]!) sums[at + 4] = 0;
  }
}
