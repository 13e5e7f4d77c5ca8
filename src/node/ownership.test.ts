import { describe, expect, it } from 'vitest';
import type { Assignment } from '../model/records.ts';
import { decideOwnership, type OpenedEpoch, OpenedEpochs, staysPrimary } from './ownership.ts';

const named = (primary: string, epoch = 4): Assignment => ({
  shard: 'cart/1',
  epoch,
  primary,
  cell: 'cell-a',
  standbys: [],
  version: 9,
});

/** assignment names | key present | opened before | accepting -> decision */
const table: [
  string | undefined,
  boolean,
  OpenedEpoch | 'forgotten' | undefined,
  boolean,
  Record<string, unknown>,
][] = [
  [undefined, false, undefined, true, { action: 'claim', epoch: 1, cell: 'cell-home' }],
  [undefined, false, undefined, false, { action: 'pass-on' }],
  ['me', true, undefined, true, { action: 'open', epoch: 4 }],
  // Draining does not stop an owner: nobody else may serve what names it.
  ['me', true, undefined, false, { action: 'open', epoch: 4 }],
  ['me', true, { epoch: 3 }, true, { action: 'open', epoch: 4 }],
  ['me', true, { epoch: 4 }, true, { action: 'reopen', epoch: 5 }],
  ['me', true, { epoch: 4, cleanSeq: 17 }, true, { action: 'open', epoch: 4, expectSeq: 17 }],
  ['me', true, { epoch: 6 }, true, { action: 'reopen', epoch: 5 }],
  ['me', true, 'forgotten', true, { action: 'reopen', epoch: 5 }],
  ['other', true, undefined, true, { action: 'forward', to: 'other' }],
  ['other', true, { epoch: 3 }, false, { action: 'forward', to: 'other' }],
  ['other', false, undefined, true, { action: 'take-over', epoch: 5, from: 'other' }],
  ['other', false, undefined, false, { action: 'pass-on' }],
];

describe('what a node does about a shard it does not serve', () => {
  it.each(table)('named %s, key present %s, opened %o, accepting %s', (...row) => {
    const [primary, primaryPresent, opened, accepting, decision] = row;
    expect(
      decideOwnership({
        self: 'me',
        assignment: primary === undefined ? undefined : named(primary),
        primaryPresent,
        opened,
        accepting,
        homeCell: 'cell-home',
      }),
    ).toEqual(decision);
  });
});

describe('news of an assignment', () => {
  const replica = { epoch: 4, version: 9 };
  it.each([
    ['none', undefined, true],
    ['older than what this node wrote', { ...named('other'), version: 8 }, true],
    ['a touch: same owner and epoch, newer version', { ...named('me'), version: 12 }, true],
    ['another owner', { ...named('other', 5), version: 12 }, false],
    ['this process in a newer epoch, by a swap of its own', { ...named('me', 5), version: 12 }, false],
  ])('%s', (_name, news, stays) => {
    expect(staysPrimary(replica, 'me', news)).toBe(stays);
  });
});

describe('the memory of opened epochs', () => {
  it('says that it may have forgotten, once it has forgotten anything', () => {
    const opened = new OpenedEpochs(2);
    opened.set('s/1', { epoch: 1 });
    opened.set('s/2', { epoch: 1, cleanSeq: 5 });
    expect(opened.get('s/3')).toBeUndefined();
    opened.set('s/3', { epoch: 2 });
    expect(opened.get('s/1')).toBe('forgotten');
    expect(opened.get('s/2')).toEqual({ epoch: 1, cleanSeq: 5 });
  });
});
