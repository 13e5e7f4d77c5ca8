/** A number kept in a range; NaN stays what it is. Comparisons, since Math.min and Math.max make a NaN of the whole. */
export function within(value: number, least: number, most: number): number {
  return value > most ? most : value < least ? least : value;
}
