import { expect, it } from 'vitest';
import { bandwidthOf, longestTransferS } from './placement-facts.ts';
import { UNMEASURED_BYTES_PER_SECOND } from './transfer-rate.ts';

it('bytes take what was measured between two regions, or the limit of transfers', () => {
  const rates = [{ from: 'eu', to: 'us', bytesPerSecond: 1e6 }];
  expect(bandwidthOf(rates)('eu', 'us')).toBe(1e6);
  expect(bandwidthOf(rates)('us', 'eu')).toBe(UNMEASURED_BYTES_PER_SECOND);
  expect(longestTransferS(5e6, rates)).toBe(5);
  expect(longestTransferS(0)).toBe(0);
});
