import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FAILURES_MAX,
  NodeHealth,
  PROBE_DELAY_MS_MAX,
  PROBE_DELAY_MS_MIN,
  PROBE_TIMEOUT_MS,
} from './health.ts';

function down(nowMs: number): NodeHealth {
  const health = new NodeHealth();
  for (let i = 0; i < FAILURES_MAX; i++) health.failed(nowMs);
  return health;
}

describe('passive health', () => {
  it('needs failures in a row to turn', () => {
    const health = new NodeHealth();
    for (let i = 0; i < 10; i++) {
      health.failed(i);
      health.succeeded();
    }
    expect(health.admit(100)).toBe('yes');
    expect(down(0).admit(0)).toBe('no');
  });

  it('lets one probe through when the wait is over, and another only after its outcome or time-out', () => {
    const health = down(0);
    expect(health.admit(PROBE_DELAY_MS_MIN - 1)).toBe('no');
    expect(health.admit(PROBE_DELAY_MS_MIN)).toBe('probe');
    expect(health.admit(PROBE_DELAY_MS_MIN)).toBe('no');
    expect(health.admit(PROBE_DELAY_MS_MIN + PROBE_TIMEOUT_MS)).toBe('probe');
  });

  it('doubles the wait once a failed probe, however many calls fail with it', () => {
    const health = down(0);
    for (let i = 0; i < 50; i++) health.failed(0);
    expect(health.retryAtMs).toBe(PROBE_DELAY_MS_MIN);
    health.admit(PROBE_DELAY_MS_MIN);
    for (let i = 0; i < 50; i++) health.failed(200);
    expect(health.retryAtMs).toBe(200 + 2 * PROBE_DELAY_MS_MIN);
  });

  it('is healthy again after any success, with the first wait', () => {
    const health = down(0);
    expect(health.succeeded()).toBe(true);
    expect(health.succeeded()).toBe(false);
    expect(health.admit(1)).toBe('yes');
    health.failed(10);
    health.failed(10);
    expect(health.retryAtMs).toBe(10 + PROBE_DELAY_MS_MIN);
  });

  it('never waits longer than the limit, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('fail', 'succeed', 'ask')), (events) => {
        const health = new NodeHealth();
        let nowMs = 0;
        for (const event of events) {
          nowMs += 500;
          if (event === 'fail') health.failed(nowMs);
          else if (event === 'succeed') health.succeeded();
          else health.admit(nowMs);
          if (!health.healthy)
            expect(health.retryAtMs).toBeLessThanOrEqual(
              nowMs + Math.max(PROBE_DELAY_MS_MAX, PROBE_TIMEOUT_MS),
            );
        }
      }),
    );
  });
});
