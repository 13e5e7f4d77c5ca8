import { expect, it } from 'vitest';
import { cellFor, cellsOf } from './cells.ts';

const cells = new Map([
  ['us-1', { region: 'us' }],
  ['us-2', { region: 'us' }],
  ['eu-1', { region: 'eu' }],
]);

it('a shard that stays in its region stays in its cell, whatever others the region has', () => {
  for (const present of ['us-1', 'us-2'])
    for (let i = 0; i < 20; i++) expect(cellFor(`room/${i}`, present, 'us', cells)).toBe(present);
});

it('shards that come to a region are spread over its cells, each always to the same', () => {
  const chosen = Array.from({ length: 200 }, (_, i) => cellFor(`room/${i}`, 'eu-1', 'us', cells));
  expect(chosen).toEqual(Array.from({ length: 200 }, (_, i) => cellFor(`room/${i}`, 'eu-1', 'us', cells)));
  for (const id of cellsOf('us', cells))
    expect(chosen.filter((one) => one === id).length).toBeGreaterThan(60);
});

it('where a region has no cell, the log stays where it is', () => {
  expect(cellFor('room/a', 'eu-1', 'jp', cells)).toBe('eu-1');
  expect(cellFor('room/a', undefined, 'jp', cells)).toBeUndefined();
});
