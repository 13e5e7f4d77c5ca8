import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import { EmulatedNetwork } from '../../io/emulated-network.ts';
import type { Clock } from '../../io/io.ts';
import { TcpNetwork } from '../../io/tcp-network.ts';
import { AWS_THREE_REGIONS } from '../../model/topology.ts';
import { connectCell, connectControl } from '../connect.ts';
import { Distance } from './distance.ts';

/** A clock whose timers fire when told. */
class HandClock implements Pick<Clock, 'setTimer'> {
  readonly timers: { delayMs: number; fire: () => void }[] = [];
  setTimer(delayMs: number, fire: () => void): () => void {
    this.timers.push({ delayMs, fire });
    return () => {};
  }
}

describe('a distance', () => {
  it('delivers in order, whichever timer fires first', () => {
    const clock = new HandClock();
    const heard: number[] = [];
    const line = new Distance(clock as unknown as Clock, 80).line<number>('back', (item) => heard.push(item));
    for (let i = 1; i <= 3; i++) line(i);
    expect(clock.timers.map(({ delayMs }) => delayMs)).toEqual([40, 40, 40]);
    for (const { fire } of clock.timers.reverse()) fire();
    expect(heard).toEqual([1, 2, 3]);
  });

  it('that is near is waited for once', () => {
    const clock = new HandClock();
    const distance = new Distance(clock as unknown as Clock, 0.8);
    const heard: number[] = [];
    distance.line<number>('back', (item) => heard.push(item))(1);
    expect(heard).toEqual([1]);
    distance.line<number>('out', (item) => heard.push(item))(2);
    expect(clock.timers.map(({ delayMs }) => delayMs)).toEqual([0.8]);
  });
});

describe('stores on etcd in an emulated region', () => {
  let etcd: TestEtcd;
  beforeAll(async () => {
    etcd = await startEtcd();
  });
  afterAll(() => etcd.stop());

  it('are as far as their region: calls, refusals and watches', async () => {
    const [home, away] = AWS_THREE_REGIONS.regions as [string, string];
    const roundTripMs = AWS_THREE_REGIONS.rttMs[away]![home]!;
    const network = new EmulatedNetwork({
      inner: new TcpNetwork(),
      clock: etcdIo.clock,
      region: away,
      topology: AWS_THREE_REGIONS,
    });
    const io = { ...etcdIo, network };
    const options = { token: '', identity: 'test', timeoutMs: 30_000 };
    const took = async (run: () => Promise<unknown>) => {
      const startMs = etcdIo.clock.monotonicMs();
      await run();
      return etcdIo.clock.monotonicMs() - startMs;
    };
    // Only lower bounds: a busy machine may be slower, never faster.
    const far = connectCell(io, 'cell-a', etcd.cluster.address(), options, home);
    expect(await took(() => far.open('room/a', 1))).toBeGreaterThanOrEqual(roundTripMs - 2);
    const delta = Buffer.from('delta');
    const append = () => far.append([{ shard: 'room/a', epoch: 1, seq: 1, id: 'p.1', delta }]);
    expect(await took(append)).toBeGreaterThanOrEqual(roundTripMs - 2);
    far.close();

    const control = connectControl(io, etcd.cluster.address(), options);
    const { revision } = await control.transact({ compare: [], operations: [] });
    const seen = new Promise<number>((resolve) => {
      control.watch(['n'], revision, () => resolve(etcdIo.clock.monotonicMs()));
    });
    const writer = connectControl(etcdIo, etcd.cluster.address(), options);
    const writtenMs = etcdIo.clock.monotonicMs();
    await writer.transact({ compare: [], operations: [{ put: 'n', value: '1' }] });
    expect((await seen) - writtenMs).toBeGreaterThanOrEqual(roundTripMs / 2 - 2);
    const gone = took(() => control.keepAlive('no such lease').catch(() => {}));
    expect(await gone).toBeGreaterThanOrEqual(roundTripMs - 2);
    control.close();
    writer.close();
  });
});
