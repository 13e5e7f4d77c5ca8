/** Test plan: as many shards as are kept, and one more: whoever keeps something by row hears whose row it was. */
import { expect, it } from 'vitest';
import { SHARE_SHARDS_MAX, Shares } from './shares.ts';

it('tells when the row of the least used shard is another’s', () => {
  const shares = new Shares();
  const forgotten: number[] = [];
  shares.onForget = (index) => forgotten.push(index);
  for (let i = 0; i < SHARE_SHARDS_MAX; i++) shares.intern(`room/${i}`);
  expect(forgotten).toEqual([]);
  shares.beginStep();
  expect(shares.intern('room/new')).toBe(0);
  expect(forgotten).toEqual([0]);
  expect(shares.indexOf('room/0')).toBeUndefined();
});
