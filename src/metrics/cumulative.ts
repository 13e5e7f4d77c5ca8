/**
 * Cumulative samples (`"kind": "counter"`) as what was counted since the one before, a source and shard at a time.
 *
 * A source that starts anew counts from zero: where any of its numbers fell, all of them are counted since then. Boundary:
 * pure. Invariants: the first sample of a shard says only where counting begins; a late or doubled one says nothing, since
 * the next holds it; readings are kept of {@link READINGS_MAX} shards and sources.
 */
import type { ProcessId } from '../model/ids.ts';
import type { LoadSample } from '../model/load.ts';

export const READINGS_MAX = 200_000;

const FIELDS = [
  'commands',
  'queries',
  'rejected',
  'cpuSeconds',
  'bytesIn',
  'bytesOut',
  'writeBytes',
] as const;

/** A sample's increase; `late`: not after the last; `first`: nothing to compare with. */
export type Increase = { sample: LoadSample; reset: boolean } | 'late' | 'first';

export class CumulativeSamples {
  /** In order of last use: a Map keeps insertion order. */
  readonly #readings = new Map<string, LoadSample>();

  increase(sample: LoadSample, source: ProcessId): Increase {
    const key = `${sample.shard}\u0000${source}`;
    const before = this.#readings.get(key);
    if (before !== undefined && sample.atMs <= before.atMs) return 'late';
    if (before !== undefined) this.#readings.delete(key);
    else if (this.#readings.size >= READINGS_MAX) this.#readings.delete(this.#readings.keys().next().value!);
    const reading = readable(sample, before);
    this.#readings.set(key, reading);
    if (before === undefined) return 'first';
    const reset = FIELDS.some((field) => reading[field] < before[field]);
    const since = (now: number, then: number) => (reset ? now : now - then);
    const byOrigin: LoadSample['byOrigin'] = {};
    for (const [origin, counts] of Object.entries(reading.byOrigin)) {
      const then = before.byOrigin[origin] ?? { commands: 0, queries: 0 };
      byOrigin[origin] = {
        commands: Math.max(0, since(counts.commands, then.commands)),
        queries: Math.max(0, since(counts.queries, then.queries)),
      };
    }
    const increased = { ...reading, byOrigin, stepMs: Math.max(sample.stepMs, sample.atMs - before.atMs) };
    for (const field of FIELDS) increased[field] = since(reading[field], before[field]);
    return { sample: increased, reset };
  }
}

/** Numbers that no counter shows are as they last were. */
function readable(sample: LoadSample, before: LoadSample | undefined): LoadSample {
  const number = (value: number | undefined, last: number | undefined) =>
    value !== undefined && Number.isFinite(value) && value >= 0 ? value : (last ?? 0);
  const byOrigin: LoadSample['byOrigin'] = {};
  for (const [origin, counts] of Object.entries(sample.byOrigin ?? {}))
    byOrigin[origin] = {
      commands: number(counts?.commands, before?.byOrigin[origin]?.commands),
      queries: number(counts?.queries, before?.byOrigin[origin]?.queries),
    };
  const reading = { ...sample, byOrigin };
  for (const field of FIELDS) reading[field] = number(sample[field], before?.[field]);
  return reading;
}
