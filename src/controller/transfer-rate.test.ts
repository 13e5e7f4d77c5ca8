import { describe, expect, it } from 'vitest';
import { TransferRates } from './transfer-rate.ts';

const region = (process: string) => ({ a: 'eu', b: 'us' })[process];
const seen = (bytesTransferred: number, id = 'm1') => [{ id, source: 'a', target: 'b', bytesTransferred }];

describe('rates of transfers', () => {
  it('are what moved between two looks, smoothed', () => {
    const rates = new TransferRates();
    rates.observe(seen(0), region, 0);
    rates.observe(seen(20e6), region, 1000);
    expect(rates.list()).toEqual([{ from: 'eu', to: 'us', bytesPerSecond: 20e6 }]);
    rates.observe(seen(50e6), region, 2000);
    expect(rates.list()[0]!.bytesPerSecond).toBeCloseTo(23e6);
  });

  it('are not made of less than a megabyte, of a first look, or of nodes that are gone', () => {
    const rates = new TransferRates();
    rates.observe(seen(80e6), region, 0);
    rates.observe(seen(80.5e6), region, 1000);
    rates.observe(seen(90e6, 'm2'), region, 2000);
    rates.observe(seen(990e6, 'm2'), () => undefined, 3000);
    expect(rates.list()).toEqual([]);
  });
});
