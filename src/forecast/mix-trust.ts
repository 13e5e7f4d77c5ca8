/**
 * How far a service's mixes foreseen are believed: as far as what they said of the cost of a request came true.
 *
 * At some leads the change foreseen (x) is held against the change that came (y); the slope of y on x, by least squares
 * over some periods, is the part of a change foreseen that is given. A dear handler that is asked now and then makes
 * foreseen costs waver for nothing: there the slope is near none. Squares, not absolute errors: costs add up, so their mean
 * is sought. Boundary: pure. Invariant: 0 to 1, and 0 before anything came.
 */

/** Steps ahead at which it is learnt. */
export const TRUST_LEADS = [1, 8, 60] as const;
/** Answers in flight a lead. */
const IN_FLIGHT = 8;
/** Worth of changes that nothing came of: a single large one that came is believed soon. */
const PRIOR = 0.5;
/** Changes foreseen and come are bounded, so that one wild step is not all that is known. */
const CHANGE_MAX = 32;

interface Said {
  due: number;
  lead: number;
  /** Costs by column, when it was said: usual, and foreseen. */
  usual: number[];
  foreseen: number[];
}

export interface MixTrustState {
  xy: number[];
  xx: number[];
  said: Said[];
}

export class MixTrust {
  readonly #columns: number;
  /** Decayed sums by lead and column. */
  readonly #xy: Float64Array;
  readonly #xx: Float64Array;
  #said: Said[] = [];

  constructor(columns: number) {
    this.#columns = columns;
    this.#xy = new Float64Array(columns * TRUST_LEADS.length);
    this.#xx = new Float64Array(columns * TRUST_LEADS.length);
  }

  /**
   * A step came.
   *
   * @param costs of a request in it, by column; undefined where it had none
   * @param keep what sums keep of their weight in a step
   */
  settle(step: number, costs: Float64Array | undefined, keep: number): void {
    const due = this.#said.filter((said) => said.due <= step);
    if (due.length === 0) return;
    this.#said = this.#said.filter((said) => said.due > step);
    if (costs === undefined) return;
    for (const said of due) {
      if (said.due < step) continue;
      const kept = keep ** every(TRUST_LEADS[said.lead]!);
      for (let column = 0; column < this.#columns; column++) {
        const x = change(said.foreseen[column]!, said.usual[column]!);
        const y = change(costs[column]!, said.usual[column]!);
        const at = said.lead * this.#columns + column;
        this.#xy[at] = this.#xy[at]! * kept + x * y;
        this.#xx[at] = this.#xx[at]! * kept + x * x;
      }
    }
  }

  /** @param foresee costs by column, so many steps ahead */
  say(step: number, usual: Float64Array, foresee: (ahead: number) => Float64Array | undefined): void {
    TRUST_LEADS.forEach((ahead, lead) => {
      if (step % every(ahead) !== 0) return;
      const foreseen = foresee(ahead);
      if (foreseen !== undefined)
        this.#said.push({ due: step + ahead, lead, usual: [...usual], foreseen: [...foreseen] });
    });
  }

  /** Part of a foreseen change that is given, at the lead nearest by ratio. */
  at(ahead: number, column: number): number {
    let lead = 0;
    while (lead + 1 < TRUST_LEADS.length && ahead * ahead > TRUST_LEADS[lead]! * TRUST_LEADS[lead + 1]!)
      lead++;
    const at = lead * this.#columns + column;
    return Math.max(0, Math.min(1, this.#xy[at]! / (this.#xx[at]! + PRIOR)));
  }

  save(): MixTrustState {
    return { xy: [...this.#xy], xx: [...this.#xx], said: this.#said };
  }

  load({ xy, xx, said }: MixTrustState): void {
    this.#xy.set(xy);
    this.#xx.set(xx);
    this.#said = [...said];
  }
}

/** Steps from one answer to the next. */
function every(ahead: number): number {
  return Math.ceil(ahead / IN_FLIGHT);
}

/** From what is usual, as a share of it; none where nothing can be said. */
function change(costs: number, usual: number): number {
  const share = costs / usual - 1;
  return Number.isFinite(share) ? Math.min(CHANGE_MAX, share) : 0;
}
