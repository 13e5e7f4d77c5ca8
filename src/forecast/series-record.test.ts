/** A line of JSON as a series: what is read, and how what is wrong is named. */
import { describe, expect, it } from 'vitest';
import { parseSeries } from './series-record.ts';

describe('a line of series', () => {
  it('is read with its gaps, covariates, events and censored steps', () => {
    const record = parseSeries(
      '{"id":"a","t0":60,"step_s":60,"v":[1,null,3],"covariates":{"t":[1,2,3,4]},"events":[{"label":"x","from":0,"to":60}],"censored":[1]}',
    );
    expect([...record.v]).toEqual([1, Number.NaN, 3]);
    expect(record.covariates.get('t')).toEqual(Float64Array.of(1, 2, 3, 4));
    expect(record.events).toEqual([{ label: 'x', from: 0, to: 60 }]);
    expect([...record.censored]).toEqual([1]);
  });

  it.each([
    ['{"id":', /not JSON/],
    ['[]', /not an object/],
    ['{"t0":0,"step_s":1,"v":[]}', /"id" is missing/],
    ['{"id":"a","step_s":0,"v":[]}', /"step_s"/],
    ['{"id":"a","step_s":1}', /"v" is not an array/],
    ['{"id":"a","step_s":1,"v":[1,"2"]}', /"v" holds "2" at index 1/],
    ['{"id":"a","step_s":1,"t0":"now","v":[]}', /"t0"/],
    ['{"id":"a","step_s":1,"v":[],"events":[{"label":"x","from":9,"to":9}]}', /event 0/],
    ['{"id":"a","step_s":1,"v":[],"covariates":[1]}', /"covariates"/],
    ['{"id":"a","step_s":1,"v":[],"censored":[-1]}', /"censored"/],
  ])('%s is refused with its reason', (line, reason) => {
    expect(() => parseSeries(line)).toThrow(reason);
  });
});
