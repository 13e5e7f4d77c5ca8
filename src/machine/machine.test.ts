import { describe, expect, it } from 'vitest';
import { type Machine, MachineDriver } from './machine.ts';

type Event = 'tick' | { say: string };

/** Says what it is told, one tick (10 ms) later. */
class Echo implements Machine<Event, string> {
  readonly #due: { atMs: number; text: string }[] = [];
  step(event: Event, nowMs: number) {
    if (event !== 'tick') this.#due.push({ atMs: nowMs + 10, text: event.say });
    const actions: string[] = [];
    while (this.#due[0] && this.#due[0].atMs <= nowMs) actions.push(this.#due.shift()!.text);
    return { actions, wakeAtMs: this.#due[0]?.atMs };
  }
}

function world() {
  let nowMs = 0;
  let timer: { atMs: number; fire: () => void } | undefined;
  const said: string[] = [];
  const driver = new MachineDriver<Event, string>({
    machine: new Echo(),
    clock: {
      monotonicMs: () => nowMs,
      setTimer(delayMs, fire) {
        const mine = { atMs: nowMs + delayMs, fire };
        timer = mine;
        return () => {
          if (timer === mine) timer = undefined;
        };
      },
    },
    tick: 'tick',
    perform(action) {
      said.push(action);
      if (action === 'again') driver.deliver({ say: 'nested' });
    },
  });
  const advance = (toMs: number) => {
    while (timer && timer.atMs <= toMs) {
      nowMs = timer.atMs;
      const { fire } = timer;
      timer = undefined;
      fire();
    }
    nowMs = toMs;
  };
  return { driver, said, advance, timerSet: () => timer !== undefined };
}

describe('the driver', () => {
  it('wakes the machine when it asked for it, and not before', () => {
    const { driver, said, advance } = world();
    driver.deliver({ say: 'hello' });
    advance(9);
    expect(said).toEqual([]);
    advance(10);
    expect(said).toEqual(['hello']);
  });

  it('makes early ticks harmless', () => {
    const { driver, said, advance } = world();
    driver.deliver({ say: 'a' });
    for (let i = 0; i < 5; i++) driver.deliver('tick');
    advance(10);
    expect(said).toEqual(['a']);
  });

  it('queues what is delivered from inside an action', () => {
    const { driver, said, advance } = world();
    driver.deliver({ say: 'again' });
    advance(20);
    expect(said).toEqual(['again', 'nested']);
  });

  it('does nothing once stopped', () => {
    const { driver, said, advance, timerSet } = world();
    driver.deliver({ say: 'late' });
    driver.stop();
    expect(timerSet()).toBe(false);
    driver.deliver({ say: 'more' });
    advance(100);
    expect(said).toEqual([]);
  });
});
