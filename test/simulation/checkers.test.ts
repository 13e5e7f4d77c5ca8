/**
 * Test plan: the checkers can fail. Each test breaks one promise of a cell that the rest is built on, and some seed of
 * the first few must then show it.
 */
import type { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import type { FaultName } from '../../src/sim/schedule.ts';
import { simulateTally } from '../../src/sim/simulate.ts';
import { SqliteCell } from '../../src/store/sqlite/cell-engine.ts';
import type { Append, AppendResult } from '../../src/store/store.ts';

/** Says yes to every fiftieth append and stores nothing. */
class ForgetfulCell extends SqliteCell {
  #count = 0;
  override append(batch: readonly Append[]): AppendResult[] {
    return batch.map((item) => (++this.#count % 50 === 0 ? { ok: true } : super.append([item])[0]!));
  }
}

/** Lets a deposed primary write: every append comes as of the epoch of the fence (OWNERSHIP rule 3 left out). */
class FencelessCell extends SqliteCell {
  override append(batch: readonly Append[]): AppendResult[] {
    return batch.map((item) => {
      const [result] = super.append([item]);
      if (result!.ok || result!.reason !== 'fenced') return result!;
      const { end } = super.tail(item.shard, 0, 1);
      return super.append([{ ...item, epoch: result!.fence, seq: end + 1 }])[0]!;
    });
  }
}

async function found(
  make: (database: DatabaseSync) => SqliteCell,
  rules: string[],
  faultNames?: FaultName[],
): Promise<boolean> {
  for (let seed = 1; seed <= 40; seed++) {
    const report = await simulateTally({
      seed: `broken ${seed}`,
      cell: make,
      faultEveryMs: 700,
      faultNames,
    });
    if (report.violations.some(({ rule }) => rules.includes(rule))) return true;
  }
  return false;
}

it('a cell that forgets what it acknowledged is found', { timeout: 120_000 }, async () => {
  expect(await found((database) => new ForgetfulCell({ database }), ['lost', 'forked', 'stale'])).toBe(true);
});

it('a cell without fences is found', { timeout: 120_000 }, async () => {
  expect(
    await found(
      (database) => new FencelessCell({ database }),
      ['lost', 'forked', 'stale', 'duplicated'],
      ['pause beyond the lease', 'partition'],
    ),
  ).toBe(true);
});
