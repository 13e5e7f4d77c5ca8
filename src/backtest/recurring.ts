/**
 * How much of a load's ups and downs comes back at the same time of day: what anybody could know of it from its own past.
 *
 * Of the changes over so many steps, the share of their variance that goes with the mean of the same changes on the days before (squared
 * correlation, where it is positive). 0: no day tells of another; 1: all days are alike. It sees no other rhythm and no cause, so it is no
 * bound for a forecast; where it is near 0 and a forecast gains nothing, the load is the reason. Pure.
 */

/** Days looked back on. */
const DAYS_MAX = 7;
const DAYS_MIN = 2;

/**
 * @param load one value a step, from the first day on
 * @param from first step whose change counts, if two days come before it
 * @param perDay steps of a day
 * @param over steps that a change is over: what is decided now must be right so many steps ahead
 * @returns undefined where no third day came, or nothing changes
 * @example
 * recurringShare([1, 5, 1, 1, 5, 1, 1, 5, 1], 6, 3, 1); // 1: every day is the same
 */
export function recurringShare(
  load: ArrayLike<number>,
  from: number,
  perDay: number,
  over: number,
): number | undefined {
  const day = Math.round(perDay);
  const changeTo = (t: number) => load[t]! - load[t - over]!;
  let count = 0;
  let [x, y, xx, yy, xy] = [0, 0, 0, 0, 0];
  if (day < 1) return undefined;
  for (let t = Math.max(from, DAYS_MIN * day + over); t < load.length; t++) {
    let before = 0;
    let days = 0;
    for (let k = 1; k <= DAYS_MAX && t - k * day - over >= 0; k++) {
      before += changeTo(t - k * day);
      days++;
    }
    before /= days;
    const now = changeTo(t);
    count++;
    x += before;
    y += now;
    xx += before * before;
    yy += now * now;
    xy += before * now;
  }
  const varianceNow = yy - (y * y) / count;
  const varianceBefore = xx - (x * x) / count;
  const together = xy - (x * y) / count;
  if (!(varianceNow > 0)) return undefined;
  return varianceBefore > 0 && together > 0 ? together ** 2 / (varianceNow * varianceBefore) : 0;
}
