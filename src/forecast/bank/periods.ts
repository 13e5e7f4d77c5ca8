/**
 * The periods of one series: a day and a week, unless its own history shows another.
 *
 * A period that the data show and that is no day, week or multiple of them (a cron job each hour, a demo whose day is
 * 30 s) takes the first place; the day then takes the second.
 */
import { strongestPeriod } from '../period.ts';
import type { Row } from './layout.ts';
import { ringContent } from './rings.ts';

const DAY_S = 86_400;
/** Values looked at: the cost of a look is their square. */
const VALUES_MAX = 608;
/** Two periods within this share of each other are the same. */
const SAME = 0.06;
/** A period of its own must explain this share of the variance to take the day's place. */
const PERIOD_TUNED = { strength: 0.5 } as const;

/** First and second period in steps; 0 for one longer than any history or shorter than two steps. */
export function findPeriods(row: Row): [number, number] {
  const { stepS, ringSteps } = row.layout;
  const day = DAY_S / stepS;
  let found: { period: number; strength: number } | undefined;
  for (let ring = 0; ring < ringSteps.length; ring++) {
    const content = ringContent(row, ring).subarray(-VALUES_MAX);
    let lowest = 0;
    for (const value of content) if (value < lowest) lowest = value;
    if (lowest < 0) for (let i = 0; i < content.length; i++) content[i]! -= lowest;
    const result = strongestPeriod([content]);
    if (result === undefined || result.strength < PERIOD_TUNED.strength) continue;
    if (found === undefined || result.strength > found.strength + 0.05)
      found = { period: result.period * ringSteps[ring]!, strength: result.strength };
  }
  if (found === undefined || isMultiple(found.period, day)) return [day, 7 * day];
  return [found.period, day];
}

function isMultiple(period: number, of: number): boolean {
  const ratio = period / of;
  const whole = Math.max(1, Math.round(ratio));
  return Math.abs(ratio - whole) < SAME * whole;
}
