/** A line of JSON as a series: what is read, and how what is wrong is named. */
import { describe, expect, it } from 'vitest';
import { LINE_CHARS_MAX, parseSeries } from './series-record.ts';

describe('a line of series', () => {
  it('is read with its gaps, covariates, events and censored steps', () => {
    const record = parseSeries(
      '{"id":"a","t0":60,"step_s":60,"v":[1,null,3,1e999,-1e31],"covariates":{"t":[1,2,3,4,5,6]},"events":[{"label":"x","from":0,"to":60}],"censored":[1]}',
    );
    expect([...record.v]).toEqual([1, Number.NaN, 3, Number.NaN, Number.NaN]);
    expect(record.covariates.get('t')).toEqual(Float64Array.of(1, 2, 3, 4, 5, 6));
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
    [
      '{"id":"a","step_s":1,"v":[1,2],"censored":[1,2]}',
      /"censored" holds 2, which is no index of the 2 values/,
    ],
    ['{"id":"a","step_s":1,"v":[1,2],"censored":["1"]}', /"censored" holds "1"/],
    ['{"id":"a","step_s":1,"v":[1,NaN]}', /not JSON: .*; write null for a missing value/],
    ['{"id":"a","step_s":1e308,"v":[1,2,3]}', /beyond any calendar/],
    ['{"id":"a","step_s":1,"t0":1e300,"v":[1]}', /beyond any calendar/],
  ])('%s is refused with its reason', (line, reason) => {
    expect(() => parseSeries(line)).toThrow(reason);
  });

  it('is refused by name however deep it is nested, and however long it is', () => {
    const deep = `${'['.repeat(1e5)}${']'.repeat(1e5)}`;
    expect(() => parseSeries(`{"id":"a","step_s":1,"v":[1,${deep}]}`)).toThrow(
      '"v" holds a list at index 1; numbers and null are read',
    );
    expect(() => parseSeries(' '.repeat(LINE_CHARS_MAX + 1))).toThrow(/longer than 64000000 characters/);
  });
});
