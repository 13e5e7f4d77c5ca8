import { describe, expect, it } from 'vitest';
import { RaiseOrder } from './raise-order.ts';

function deferred<Value>() {
  let resolve!: (value: Value) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

describe('calls behind a raise of the fence', () => {
  it('wait for every raise asked for before, of their shard alone', async () => {
    const order = new RaiseOrder();
    const [first, second] = [deferred<number>(), deferred<number>()];
    const raised = order.raising('a/1', () => first.promise);
    order.raising('a/1', () => second.promise);
    expect(order.after('a/2')).toBeUndefined();
    let passed = false;
    const behind = order.after('a/1')!.then(() => {
      passed = true;
    });
    second.resolve(2);
    await second.promise;
    expect(passed).toBe(false);
    first.resolve(1);
    expect(await raised).toBe(1);
    await behind;
    expect(order.after('a/1')).toBeUndefined();
  });

  it('fail where the raise failed', async () => {
    const order = new RaiseOrder();
    const raise = deferred<number>();
    const raised = order.raising('a/1', () => raise.promise);
    const behind = order.after('a/1')!;
    raise.reject(new Error('no answer'));
    await expect(raised).rejects.toThrow('no answer');
    await expect(behind).rejects.toThrow('no answer');
    expect(order.after('a/1')).toBeUndefined();
  });
});
