/** Text for people: tables, sizes, times. Pure. */

/** Columns padded to their widest cell, no borders; an empty table says so by `empty`. */
export function table(head: string[], rows: string[][], empty = 'none'): string {
  if (rows.length === 0) return `${empty}\n`;
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => width(row[i] ?? ''))));
  return all
    .map((row) =>
      row
        .map((cell, i) => cell + ' '.repeat(i === row.length - 1 ? 0 : widths[i]! - width(cell)))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function width(text: string): number {
  return [...text].length;
}

/** A quantity of any size in at most eight characters: `0.00`, `0.0012`, `12.50`, `27.0k`, `12.5G`. */
export function amount(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-5)) return value.toExponential(1);
  for (const [from, unit, suffix] of UNITS) if (size >= from) return `${(value / unit).toFixed(1)}${suffix}`;
  // Two digits of what is small: the CPU of a quiet shard is thousandths of a core.
  return size === 0 || size >= 0.1 ? value.toFixed(2) : value.toFixed(1 - Math.floor(Math.log10(size)));
}

const UNITS = [
  [1e12, 1e12, 'T'],
  [1e9, 1e9, 'G'],
  [1e6, 1e6, 'M'],
  [1e4, 1e3, 'k'],
] as const;

export function bytes(count: number): string {
  if (count < 1_000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1_000).toFixed(1)} kB`;
  if (count < 1_000_000_000) return `${(count / 1_000_000).toFixed(1)} MB`;
  return `${(count / 1_000_000_000).toFixed(1)} GB`;
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

export function usdPerHour(value: number): string {
  return `$${value.toFixed(Math.abs(value) >= 0.01 || value === 0 ? 3 : 6)}/h`;
}

export function clockTime(atMs: number): string {
  return new Date(atMs).toISOString().slice(11, 19);
}

export function listing(title: string, lines: readonly string[]): string {
  return `${title}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
