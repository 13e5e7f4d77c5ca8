/** Test plan: SPEC.md is read as data and compared with the code it describes, so that neither can drift. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { STATES } from './record.ts';
import { EVENTS, OUTCOMES, TABLE } from './table.ts';

const spec = readFileSync(new URL('./SPEC.md', import.meta.url), 'utf8');

/** The rows of the table whose header starts with these cells. */
function rowsAfter(...header: string[]): string[][] {
  const lines = spec.split('\n');
  const start = lines.findIndex((line) => cellsOf(line).slice(0, header.length).join() === header.join());
  expect(start, `a table that starts with ${header.join(', ')}`).toBeGreaterThan(0);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(cellsOf(line));
  }
  return rows;
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

describe('SPEC.md', () => {
  it('shows the same state x event table as the code', () => {
    const rows = rowsAfter('state', ...EVENTS);
    expect(rows.map(([state]) => state)).toEqual([...STATES]);
    for (const [state, ...cells] of rows) {
      const shown = cells.map((cell) => (cell === '·' ? 'ignore' : cell));
      const coded = EVENTS.map((event) => TABLE[state as (typeof STATES)[number]][event]);
      expect(shown, state).toEqual(coded);
    }
  });

  it('explains every outcome', () => {
    expect(rowsAfter('outcome').map(([outcome]) => outcome)).toEqual([...OUTCOMES]);
  });

  it('numbers nine rules and its own invariants without a hole', () => {
    const rules = rowsAfter('', 'rule').map(([id]) => id);
    expect(rules).toEqual(Array.from({ length: 9 }, (_, i) => `R${i + 1}`));
    const invariants = rowsAfter('', 'invariant').map(([id]) => id);
    expect(invariants).toEqual(Array.from({ length: invariants.length }, (_, i) => `M${i + 1}`));
  });

  it('names files that exist', () => {
    const named = [...spec.matchAll(/`((?:[a-z-]+\/)*[a-z-]+\.ts)`/g)].map((match) => match[1]!);
    expect(named.length).toBeGreaterThan(10);
    const missing = named.filter(
      (path) =>
        !existsSync(new URL(`../${path}`, import.meta.url)) && !existsSync(new URL(path, import.meta.url)),
    );
    expect(missing).toEqual([]);
  });

  it('names methods and functions that exist', () => {
    const sources = [
      'machine.ts',
      'shift-step.ts',
      'run.ts',
      'driver.ts',
      'record-writer.ts',
      'gates.ts',
      '../node/migration/hand-off.ts',
      '../node/migration/participant.ts',
      '../node/migration/cell-copy.ts',
      '../node/migration/follower.ts',
      '../node/promotions.ts',
      '../node/hand-over.ts',
      '../node/replica.ts',
    ].map((path) => readFileSync(new URL(path, import.meta.url), 'utf8'));
    const named = [...spec.matchAll(/`([A-Z][A-Za-z]+)\.(#?[a-zA-Z]+)`/g)];
    expect(named.length).toBeGreaterThan(20);
    for (const [, owner, method] of named) {
      if (owner === 'CellStore') continue;
      const source = sources.find((text) => text.includes(`class ${owner} `));
      expect(source, owner).toBeDefined();
      expect(source!.includes(`${method}(`) || source!.includes(`${method} =`), `${owner}.${method}`).toBe(
        true,
      );
    }
  });
});
