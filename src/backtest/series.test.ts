import { describe, expect, it } from 'vitest';
import { align, parseCsv, parseJsonLines, TraceError } from './series.ts';

describe('JSON Lines', () => {
  it('gives one series a line, null as missing', () => {
    const [one] = parseJsonLines('{"id":"a","step_s":60,"t0":600,"v":[1,null,3],"origin":"eu-west-1"}\n\n');
    expect(one).toMatchObject({ id: 'a', stepS: 60, t0S: 600, origin: 'eu-west-1' });
    expect([...one!.values]).toEqual([1, Number.NaN, 3]);
  });

  it.each([
    ['{"id":"a"', 1, /not JSON/],
    ['[]', 1, /expected an object/],
    ['{"id":"","step_s":1,"v":[1]}', 1, /\$\.id/],
    ['{"id":"a","step_s":0,"v":[1]}', 1, /\$\.step_s/],
    ['{"id":"a","step_s":1,"v":[]}', 1, /\$\.v/],
    ['{"id":"a","step_s":1,"v":[1,"2"]}', 1, /\$\.v\[1\].*"2"/],
    ['{"id":"a","step_s":1,"v":[1,-2]}', 1, /\$\.v\[1\].*negative/],
    ['{"id":"a","step_s":1,"v":[1,1e300]}', 1, /\$\.v\[1\].*up to 1e\+30.*found 1e\+300/],
    ['{"id":"a","step_s":1,"v":[1,NaN]}', 1, /not JSON.*write null for a missing value/],
    ['{"id":"a","step_s":0.001,"v":[1]}', 1, /\$\.step_s.*milliseconds/],
    ['{"id":"a","step_s":1,"t0":"now","v":[1]}', 1, /\$\.t0/],
    ['{"id":"a","step_s":1,"v":[1]}\n{"id":"a","step_s":1,"v":[1]}', 2, /twice/],
  ])('refuses %s', (text, line, reason) => {
    const error = caught(() => parseJsonLines(text));
    expect(error.line).toBe(line);
    expect(error.message).toMatch(reason);
  });
});

describe('CSV', () => {
  it('takes long rows in any order, with origins', () => {
    const series = parseCsv(
      'time,id,value,origin\n2026-01-01T00:01:00Z,a,2,eu-west-1\n2026-01-01T00:00:00Z,a,1,eu-west-1\n2026-01-01T00:03:00Z,a,4,eu-west-1\n',
    );
    expect(series).toHaveLength(1);
    expect(series[0]).toMatchObject({ id: 'a', stepS: 60, origin: 'eu-west-1' });
    expect([...series[0]!.values]).toEqual([1, 2, Number.NaN, 4]);
  });

  it('takes wide rows, Unix seconds and milliseconds alike, quotes and empty cells', () => {
    const seconds = parseCsv('timestamp,"a, b",c\n1767571200,1,\n1767571260,2,5\n1767571320,3,6\n');
    const milliseconds = parseCsv(
      'timestamp,"a, b",c\n1767571200000,1,\n1767571260000,2,5\n1767571320000,3,6',
    );
    expect(seconds).toEqual(milliseconds);
    expect(seconds.map(({ id, stepS }) => [id, stepS])).toEqual([
      ['a, b', 60],
      ['c', 60],
    ]);
  });

  it('takes a time without a zone for UTC, a byte order mark, empty lines and CRLF for nothing', () => {
    const [zoned] = parseCsv('time,a\n2026-03-29T00:00:00Z,1\n2026-03-29T03:00:00+02:00,2');
    const [plain] = parseCsv('\uFEFF\r\n\r\ntime,a\r\n2026-03-29,1\r\n2026-03-29 01:00,2\r\n');
    expect(plain).toEqual(zoned);
    expect(parseJsonLines('\uFEFF{"id":"a","step_s":60,"v":[1]}\r\n')).toHaveLength(1);
  });

  it.each([
    ['id,value\na,1', 1, /column "time"/],
    ['time,value\nyesterday,1', 2, /expected a time/],
    ['time,value\n1,2,3', 2, /expected 2 columns/],
    ['time,value\n1,x', 2, /expected a number for "all", found "x"/],
    ['time,value\n1,-5', 2, /negative/],
    ['time,value\n1,5\n1,6', 3, /two values at the same time/],
    ['time,value\n1,5', 2, /one value only/],
    ['time,value\n', 2, /no values/],
    ['time,value\n0,1\n1,1\n1767571200000,1', 4, /in one unit/],
    ['time;value\n0;1', 1, /commas between columns/],
    ['time,a,a\n0,1,2', 1, /column "a" is there twice/],
    ['time,id,value\n0,,1', 2, /the name of a series/],
    ['time,a\n0,1\n0.001,1', 3, /a step of 1 s or more/],
    // The first of May, or the fifth of January?
    ['time,a\n05/01/2026,1', 2, /ISO 8601/],
    ['time,a\n1.5.2026,1', 2, /ISO 8601/],
    ['time,a\n2026-13-01,1', 2, /ISO 8601/],
  ])('refuses %s', (text, line, reason) => {
    const error = caught(() => parseCsv(text));
    expect(error.message).toMatch(reason);
    expect(error.line).toBe(line);
  });
});

describe('another step', () => {
  const [hourly] = parseJsonLines('{"id":"a","step_s":3600,"v":[6,18,null,12]}');

  it('longer: means of what is known', () => {
    const [one] = align([hourly!], 7200);
    expect([...one!.values]).toEqual([12, 12]);
  });

  it('shorter: straight lines between the middles, level beyond the outermost, nothing beside what is missing', () => {
    const [one] = align([hourly!], 1200);
    expect(one!.stepS).toBe(1200);
    expect([...one!.values.subarray(0, 5)]).toEqual([6, 6, 10, 14, 18]);
    expect([...one!.values.subarray(5, 10)]).toEqual(new Array(5).fill(Number.NaN));
    expect([...one!.values.subarray(10)]).toEqual([12, 12]);
  });
});

function caught(parse: () => unknown): TraceError {
  try {
    parse();
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
    return error as TraceError;
  }
  throw new Error('nothing was thrown');
}
