/**
 * What declared signals did before: learnt by label from the load measured while they acted, and what is to be expected of
 * those that act or are to come.
 *
 * Each scope (a shard, a service, everything) is a series of its own that {@link EventEffects} watches; labels are shared
 * among scopes, since a cup final is one wherever it is. While a signal acts, the forecaster is given the load as it would
 * have been without it, so that the factor is not counted twice and no level is learnt from it.
 *
 * Boundary: pure. Invariants: without signals it costs nothing; scopes are bounded by the signals that are not over.
 */
import { EventEffects, type EventType } from '../forecast/bank/events.ts';
import type { Declared } from '../forecast/index.ts';
import type { LoadStep } from '../metrics/index.ts';
import type { ShardId } from '../model/ids.ts';
import type { LoadSample } from '../model/load.ts';
import type { DeclaredSignal } from './signals.ts';

/** Steps over which a scope's usual load is averaged. */
const USUAL_STEPS = 200;
/** A signal without a label is a type of its own, forgotten with it. */
const OWN = '\u0000';
/** Times from now, in steps, at which a factor is told; it holds until the next. */
const TOLD_STEPS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096] as const;

interface Scope {
  effects: EventEffects;
  /** Number of the step that the effects call 0. */
  start: number;
  usual: number;
  /** End of its last signal, Unix milliseconds. */
  untilMs: number;
}

/** Expected requests of the next step in a scope, as if nothing had been declared. */
export type ExpectedOf = (scope: DeclaredSignal['scope']) => number;

export class SignalMemory {
  readonly #types = new Map<string, EventType>();
  readonly #scopes = new Map<string, Scope & { scope: DeclaredSignal['scope'] }>();
  readonly #declared = new Set<string>();
  readonly #stepMs: number;
  #last = 0;
  #steps = 0;

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }

  /** Labels of which something is known, and how often each was seen. */
  get labels(): Record<string, number> {
    return Object.fromEntries(
      [...this.#types]
        .filter(([label]) => !label.startsWith(OWN))
        .map(([label, type]) => [label, type.occurrences]),
    );
  }

  /** The step as it would have been without the signals that act on it; itself where none does. */
  without(step: LoadStep, signals: readonly DeclaredSignal[], expectedOf: ExpectedOf): LoadStep {
    this.#steps++;
    const skipped = this.#last === 0 ? 0 : step.number - this.#last - 1;
    this.#last = step.number;
    for (const one of this.#scopes.values())
      for (let i = 0; i < Math.min(skipped, 4096); i++) one.effects.pass();
    this.#follow(signals, step);
    if (this.#scopes.size === 0) return step;
    let clean = step;
    for (const one of this.#inOrder()) clean = this.#cleaned(clean, one, expectedOf);
    this.#forget(step.atMs);
    return clean;
  }

  /** What is to be expected for a shard, as {@link Declared} from the end of the last step. */
  declaredFor(signals: readonly DeclaredSignal[], shard: ShardId | undefined, atMs: number): Declared[] {
    const found: Declared[] = [];
    for (const signal of signals) {
      if (!concerns(signal.scope, shard) || signal.toMs <= atMs) continue;
      const scope = this.#scopes.get(scopeKey(signal.scope));
      const fromS = (signal.fromMs - atMs) / 1000;
      const toS = (signal.toMs - atMs) / 1000;
      const origin = signal.origin === undefined ? {} : { origin: signal.origin };
      const stepS = this.#stepMs / 1000;
      const begins = Math.max(0, Math.floor(fromS / stepS));
      const pieces = scope ? TOLD_STEPS.map((steps) => steps - 1 + begins) : [begins];
      pieces.forEach((after, i) => {
        const next = pieces[i + 1] ?? Number.POSITIVE_INFINITY;
        const piece = {
          fromS: i === 0 ? fromS : Math.max(fromS, after * stepS),
          toS: Math.min(toS, next * stepS),
          factor: scope?.effects.factorOf(signal.id, after + 1) ?? signal.factor,
          ...origin,
        };
        if (piece.toS > piece.fromS && piece.factor !== 1) found.push(piece);
      });
    }
    return found;
  }

  save(): SignalMemoryState {
    return {
      types: [...this.#types]
        .filter(([label]) => !label.startsWith(OWN))
        .map(([label, { seen, expected, ...rest }]) => ({
          label,
          ...rest,
          seen: [...seen],
          expected: [...expected],
        })),
    };
  }

  /** Signals under way are followed anew. */
  load(state: SignalMemoryState | undefined): void {
    for (const { label, seen, expected, ...rest } of state?.types ?? [])
      this.#types.set(label, {
        ...rest,
        seen: Float64Array.from(seen),
        expected: Float64Array.from(expected),
      });
  }

  #follow(signals: readonly DeclaredSignal[], step: LoadStep): void {
    for (const { id, scope, label, fromMs, toMs, factor } of signals) {
      if (this.#declared.has(id) || toMs <= step.atMs - this.#stepMs) continue;
      this.#declared.add(id);
      const key = scopeKey(scope);
      let known = this.#scopes.get(key);
      if (known === undefined) {
        known = { scope, effects: new EventEffects(this.#types), start: step.number, usual: 0, untilMs: 0 };
        this.#scopes.set(key, known);
      }
      known.untilMs = Math.max(known.untilMs, toMs);
      known.effects.declare({
        id,
        label: label ?? OWN + id,
        fromStep: Math.floor(fromMs / this.#stepMs) + 1 - known.start,
        toStep:
          Math.max(Math.floor(fromMs / this.#stepMs) + 2, Math.ceil(toMs / this.#stepMs) + 1) - known.start,
        factor,
      });
    }
  }

  /** Shards first, everything last: what a shard's signal explains is not everything's. */
  #inOrder() {
    const rank = (scope: DeclaredSignal['scope']) => ('shard' in scope ? 0 : 'service' in scope ? 1 : 2);
    return [...this.#scopes.values()].sort((a, b) => rank(a.scope) - rank(b.scope));
  }

  #cleaned(
    step: LoadStep,
    one: Scope & { scope: DeclaredSignal['scope'] },
    expectedOf: ExpectedOf,
  ): LoadStep {
    let value = 0;
    for (const sample of step.shards)
      if (concerns(one.scope, sample.shard)) value += sample.commands + sample.queries;
    const expected = expectedOf(one.scope);
    if (one.usual === 0) one.usual = Math.max(expected, 0);
    // Most of the load unheard of says nothing of a signal.
    const heard = step.missingShare > 0.5 ? Number.NaN : value / (1 - step.missingShare);
    let clean = one.effects.without(heard, expected, this.#steps, one.usual);
    if (Number.isNaN(clean)) clean = Number.isNaN(heard) ? heard : Math.min(heard, expected);
    if (!Number.isFinite(clean)) return step;
    one.usual += (clean - one.usual) / USUAL_STEPS;
    const share = heard > 0 ? clean / heard : 1;
    if (share === 1) return step;
    return {
      ...step,
      shards: step.shards.map((sample) =>
        concerns(one.scope, sample.shard) ? scaledSample(sample, share) : sample,
      ),
    };
  }

  #forget(atMs: number): void {
    for (const [key, { untilMs }] of this.#scopes) if (untilMs <= atMs) this.#scopes.delete(key);
    if (this.#scopes.size > 0) return;
    this.#declared.clear();
    for (const label of this.#types.keys()) if (label.startsWith(OWN)) this.#types.delete(label);
  }
}

export interface SignalMemoryState {
  types: { label: string; occurrences: number; error: number; seen: number[]; expected: number[] }[];
}

export function concerns(scope: DeclaredSignal['scope'], shard: ShardId | undefined): boolean {
  if ('all' in scope) return true;
  if (shard === undefined) return false;
  return 'shard' in scope ? scope.shard === shard : shard.startsWith(`${scope.service}/`);
}

function scopeKey(scope: DeclaredSignal['scope']): string {
  return 'all' in scope ? 'all' : 'shard' in scope ? `shard ${scope.shard}` : `service ${scope.service}`;
}

function scaledSample(sample: LoadSample, share: number): LoadSample {
  const byOrigin: LoadSample['byOrigin'] = {};
  for (const [origin, { commands, queries }] of Object.entries(sample.byOrigin))
    byOrigin[origin] = { commands: commands * share, queries: queries * share };
  return {
    ...sample,
    byOrigin,
    commands: sample.commands * share,
    queries: sample.queries * share,
    cpuSeconds: sample.cpuSeconds * share,
    bytesIn: sample.bytesIn * share,
    bytesOut: sample.bytesOut * share,
    writeBytes: sample.writeBytes * share,
  };
}
