/** Seasons by local regression: the numbers of R's `stl`, and what a season is. */
import { describe, expect, it } from 'vitest';
import { seasonOf } from './decomposition.ts';

const WEEK = [0, 3, 5, 4, 1, -2, -4];

describe('the season of a series', () => {
  it('is that of R: stl with a window of 11 cycles, degree 0, not robust', () => {
    const values = Float64Array.from(
      { length: 40 },
      (_, i) => 10 + 0.1 * i + WEEK[i % 7]! * (1 + i / 60) + ((i * i * 7) % 11) / 5,
    );
    // stl(ts(x, frequency = 7), s.window = 11, s.degree = 0, s.jump = 1, t.window = 13, t.jump = 2, l.window = 7,
    // l.jump = 1, inner = 2, outer = 0), R 4.2.2
    const ofR = [
      -1.360664, 2.233244, 5.276138, 4.210575, -0.452607, -3.802001, -6.162629, -1.340084, 2.229772, 5.324933,
      4.244429, -0.408178, -3.894519, -6.226187, -1.316903, 2.226331, 5.395043, 4.296309, -0.352403,
      -4.039362, -6.340622, -1.296069, 2.243253, 5.490327, 4.397634, -0.265188, -4.189426, -6.454905,
      -1.292072, 2.264099, 5.532783, 4.453789, -0.208858, -4.281055, -6.521135, -1.28098, 2.272383, 5.570749,
      4.489191, -0.163632,
    ];
    const season = seasonOf(values, 7);
    for (const [i, expected] of ofR.entries()) expect(season[i]).toBeCloseTo(expected, 5);
  });

  it('goes on for one period as the last one was', () => {
    const values = Float64Array.from({ length: 30 }, (_, i) => WEEK[i % 7]! + i);
    const season = seasonOf(values, 7);
    expect(season.length).toBe(37);
    expect(season.slice(30)).toEqual(season.slice(23, 30));
  });

  it('is nothing where there is none: a constant, a straight line, two periods only', () => {
    for (const slope of [0, 3]) {
      const season = seasonOf(
        Float64Array.from({ length: 50 }, (_, i) => 5 + slope * i),
        10,
      );
      for (const value of season) expect(Math.abs(value)).toBeLessThan(1e-6 + 0.5 * slope);
    }
    for (const value of seasonOf(new Float64Array(4), 2)) expect(value).toBe(0);
  });
});
