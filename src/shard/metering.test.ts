import { describe, expect, it } from 'vitest';
import { command, query, service } from '../sdk/service.ts';
import { AppEffects } from './effects.ts';
import { FakeHost } from './fake-host.ts';
import { type LoadedHandler, loadService } from './handlers.ts';
import { RECENT_QUERIES_MAX, USER_MS, USERS_MAX } from './limits.ts';
import { Executions, ReplicaMeter } from './metering.ts';

function handlersOf(): { add: LoadedHandler; get: LoadedHandler } {
  const declared = service('a', { state: () => ({}) }, { add: command(() => 1), get: query(() => 1) });
  const { handlers } = loadService(declared, new AppEffects(undefined));
  return { add: handlers.get('add')!, get: handlers.get('get')! };
}

const { add, get } = handlersOf();

const request = (userHash: number) => ({
  shard: 'a/b',
  handler: 'h',
  input: new Uint8Array(3),
  method: 'post' as const,
  origin: 'eu-west-1',
  userHash,
  hops: 0,
});

describe('a replica measures', () => {
  it('what was offered, by origin, once', () => {
    const meter = new ReplicaMeter();
    meter.offered(request(1), add, 0);
    meter.offered(request(2), get, 0);
    meter.rejected();
    expect(meter.takeLoad(0)).toMatchObject({ commands: 1, queries: 1, rejected: 1, bytesIn: 6 });
    meter.offered(request(1), add, 0);
    expect(meter.takeLoad(0).byOrigin).toEqual(new Map([['eu-west-1', [1, 0]]]));
    expect(meter.takeLoad(0)).toMatchObject({ commands: 0, cpuMicros: 0 });
  });

  it('the same a handler, over all replicas of the process', () => {
    const handlers = handlersOf();
    const [one, other] = [new ReplicaMeter(), new ReplicaMeter()];
    one.offered(request(1), handlers.add, 0);
    other.offered(request(1), handlers.add, 0);
    other.offered(request(2), handlers.get, 0);
    one.used(handlers.add, 30);
    other.used(handlers.add, 40);
    one.wrote(5, handlers.add);
    one.wrote(100);
    other.delivered(7, handlers.get);
    expect(handlers.add.work).toMatchObject({ requests: 2, cpuMicros: 70, bytesIn: 6, writeBytes: 5 });
    expect(handlers.get.work).toMatchObject({ requests: 1, cpuMicros: 0, bytesIn: 3, bytesOut: 7 });
  });

  it('its stretches of work, and what its handlers usually take', () => {
    const meter = new ReplicaMeter();
    const host = new FakeHost();
    const loaded = service('a', { state: () => ({}) }, { h: query(() => 1) });
    const handler = loadService(loaded, new AppEffects(undefined)).handlers.get('h')!;
    for (let i = 0; i < 100; i++) {
      meter.begin(host, handler);
      host.cpuMicros += 70;
      host.nowMs += 2;
      meter.end(host, handler);
      meter.end(host, handler);
    }
    expect(meter.handlerMs).toBe(2);
    expect(handler.expectedMicros).toBeCloseTo(70, 0);
    expect(meter.takeLoad(0).cpuMicros).toBe(7_000);
  });

  it('handler times whose p99 is within 10 %, few or many', () => {
    for (const count of [1, 20, 31, 32, 33, 5_000]) {
      const executions = new Executions();
      for (let i = 1; i <= count; i++) executions.add(i / 100, i % 10 === 0);
      const { handlerMsP99, ...rest } = executions.stats();
      const expected = Math.ceil(0.99 * count) / 100;
      expect(rest).toMatchObject({ count, errors: Math.floor(count / 10) });
      expect(Math.abs(handlerMsP99 - expected) / expected).toBeLessThan(0.1);
    }
  });

  it('users of the last ten seconds, up to a bound', () => {
    const meter = new ReplicaMeter();
    for (let user = 0; user < USERS_MAX + 10; user++) meter.offered(request(user), add, 0);
    expect(meter.users(USER_MS)).toBe(USERS_MAX);
    meter.offered(request(999), add, USER_MS + 1);
    expect(meter.users(USER_MS + 1)).toBe(1);
  });

  it('the last queries, newest first', () => {
    const meter = new ReplicaMeter();
    expect(meter.recentQueries(3)).toEqual([]);
    for (let i = 0; i < RECENT_QUERIES_MAX + 3; i++) meter.remember(`h${i}`, '', '1', i);
    expect(meter.recentQueries(2).map(({ handler }) => handler)).toEqual(['h18', 'h17']);
    expect(meter.recentQueries(99)).toHaveLength(RECENT_QUERIES_MAX);
    meter.remember('huge', 'x'.repeat(5_000), '', 0);
    expect(meter.recentQueries(1)[0]?.handler).toBe('h18');
  });
});
