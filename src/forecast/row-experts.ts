/**
 * Batch experts (the trained network, a model of the user's own) beside the controller's few rows: groups, hot shards, the
 * total. Each row asks them once a step, at fixed steps ahead, and only of its newest values.
 *
 * Boundary: pure. Invariant: what one costs is bounded by its rows; a row too young is not asked about.
 */
import type { SeriesBank } from './bank/bank.ts';
import type { Outside } from './bank/outside.ts';
import { BatchAnswers } from './batch-answers.ts';
import type { BatchExpert } from './batch-expert.ts';

/** Values an expert is shown. */
const SHOWN_STEPS = 2048;
/** Values from which it is asked. */
const KNOWN_MIN = 8;
/** Steps ahead at which it is asked; others lie between. */
const ASKED_STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 30, 40, 75, 120, 200] as const;

interface Answer {
  length: number;
  shown: number;
  answers: BatchAnswers;
}

/** For {@link SeriesBank.outside} of a bank with as many of them as there are experts. */
export function rowExperts(bank: SeriesBank, experts: readonly BatchExpert[]): Outside {
  const known = new Map<number, Answer>();
  return (row, e, ahead, out) => {
    const key = row * experts.length + e;
    const length = bank.length(row);
    let answer = known.get(key);
    if (answer === undefined || answer.length !== length) {
      const values = bank.recent(row, 0, SHOWN_STEPS);
      if (values.length < KNOWN_MIN) return false;
      const answers = new BatchAnswers(experts[e]!, { values, stepS: bank.layout.stepS, t0: Number.NaN });
      const periods = bank.periods(row).filter((steps) => steps >= 2 && 2 * steps <= values.length);
      answers.ask([values.length], ASKED_STEPS, periods.length > 0 ? periods : undefined);
      answer = { length, shown: values.length, answers };
      known.set(key, answer);
    }
    return answer.answers.at(answer.shown, ahead, out);
  };
}
