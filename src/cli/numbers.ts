/**
 * Numbers among the options, for commander: it names the option and what was written, these say what may be written.
 *
 * Invariant: nothing written is no number, not 0.
 */
import { InvalidArgumentError } from 'commander';

export function wholeNumber(min: number, max: number): (text: string) => number {
  return parser(
    `Write a whole number from ${min} to ${max}.`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  );
}

export function number(min: number, max: number): (text: string) => number {
  return parser(`Write a number from ${min} to ${max}.`, (value) => value >= min && value <= max);
}

export function positive(text: string): number {
  return parser('Write a number above 0.', (value) => value > 0 && Number.isFinite(value))(text);
}

function parser(expected: string, fits: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !fits(value)) throw new InvalidArgumentError(expected);
    return value;
  };
}
