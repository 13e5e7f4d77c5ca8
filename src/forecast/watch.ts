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
/** And once the difference of the losses is so many of its own standard errors: a few large errors say nothing. */
const STANDARD_ERRORS = 3;
/** A ratio beyond it tells no more; seasonal naive may have no loss at all. */
const RATIO_MAX = 1000;

export interface Watched {
  /** Steps ahead. */
  ahead: number;
  /** Decayed count of what was held against the truth. */
  scores: number;
  /** Share of values at or below p90; 0.9 before there are any. */
  coverageP90: number;
  /** Mean absolute error of p50 over that of seasonal naive, at most 1,000; 1 before there are any. */
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

export interface WatchOptions {
  /** Steps after which answers are held against what comes; without it, as many as keep few in flight. */
  asked?: (step: number) => boolean;
  /** Scores without which nothing falls back; 50 by default. */
  scoresMin?: number;
}

export class ForecastWatch {
  /** Columns of each horizon; after them, for each, the squares of how much the own loss was above naive's. */
  readonly #sums = new Float64Array(WATCHED_STEPS.length * (COLUMNS + 1));
  readonly #said: Said[][] = WATCHED_STEPS.map(() => []);
  readonly #asked: ((step: number) => boolean) | undefined;
  readonly #scoresMin: number;

  constructor({ asked, scoresMin }: WatchOptions = {}) {
    this.#asked = asked;
    this.#scoresMin = scoresMin ?? SCORES_MIN;
  }

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
        if (due.due === step && !Number.isNaN(value)) this.#score(h, due, value);
      }
      if (Number.isNaN(value)) return;
      if (this.#asked === undefined ? step % Math.ceil(ahead / IN_FLIGHT) !== 0 : !this.#asked(step)) return;
      const { p50, p90 } = say(ahead);
      said.push({ due: step + ahead, p50, p90, naive: naive(ahead) });
    });
  }

  at(ahead: number): Watched {
    const h = placeOf(ahead);
    const [scores, held, own, naive, back] = this.#sums.subarray(h * COLUMNS, (h + 1) * COLUMNS);
    return {
      ahead: WATCHED_STEPS[h]!,
      scores: scores!,
      coverageP90: (held! + 0.9) / (scores! + 1),
      lossAgainstNaive: own! + naive! > 0 ? Math.min(RATIO_MAX, own! / naive!) : 1,
      fallsBack: back === 1,
    };
  }

  /** Whether naive is given so far ahead. */
  fallsBack(ahead: number): boolean {
    return this.#sums[placeOf(ahead) * COLUMNS + 4] === 1;
  }

  /** The watched horizons up to a number of steps at which naive is given. */
  fallenBack(reach: number): Watched[] {
    return WATCHED_STEPS.filter((ahead) => ahead <= reach && this.fallsBack(ahead)).map((ahead) =>
      this.at(ahead),
    );
  }

  /** What is in flight is not kept: it costs a few scores. */
  save(): number[] {
    return [...this.#sums];
  }

  load(saved: readonly number[]): void {
    this.#sums.set(saved.slice(0, this.#sums.length));
  }

  #score(h: number, due: Said, value: number): void {
    const sums = this.#sums;
    const at = h * COLUMNS;
    const squares = WATCHED_STEPS.length * COLUMNS + h;
    for (let i = 0; i < COLUMNS - 1; i++) sums[at + i]! *= KEEP;
    sums[squares]! *= KEEP;
    const own = Math.abs(value - due.p50);
    const naive = Math.abs(value - due.naive);
    sums[at]! += 1;
    if (value <= due.p90) sums[at + 1]! += 1;
    sums[at + 2]! += own;
    sums[at + 3]! += naive;
    sums[squares]! += (own - naive) ** 2;
    const scores = sums[at]!;
    const above = (sums[at + 2]! - sums[at + 3]!) / scores;
    const error = Math.sqrt(Math.max(0, sums[squares]! / scores - above * above) / scores);
    const worse =
      scores >= this.#scoresMin && sums[at + 2]! > WORSE * sums[at + 3]! && above > STANDARD_ERRORS * error;
    if (worse) sums[at + 4] = 1;
    else if (sums[at + 2]! < GOOD_AGAIN * sums[at + 3]!) sums[at + 4] = 0;
  }
}

/** Place of the watched horizon next below. */
function placeOf(ahead: number): number {
  let h = 0;
  while (h < WATCHED_STEPS.length - 1 && WATCHED_STEPS[h + 1]! <= ahead) h++;
  return h;
}
