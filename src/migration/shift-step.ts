/**
 * One step of a shift: since when it runs, what has been seen of the target in it, what speaks against going on, and
 * when it is over.
 *
 * Boundary: it judges; what follows is the machine's to decide. Invariant: only what the target executed in this step
 * counts.
 */
import type { ReplicaStatus } from '../node/protocol.ts';
import { countOf, type Executed, executedSince, objection } from './gates.ts';
import { isPromiseJudged, judgePromise } from './latency.ts';
import type { MigrationRecord } from './record.ts';
import { dwellOf, type MigrationSettings, percentsOf } from './settings.ts';

export class ShiftStep {
  readonly #settings: MigrationSettings;
  readonly #dwell: { minMs: number; maxMs: number };
  readonly #lastStep: number;
  /** The step's clock runs from the moment its shift is durable. */
  #sinceMs: number | undefined;
  #base: Executed | undefined;
  #seen = false;

  constructor(settings: MigrationSettings) {
    this.#settings = settings;
    this.#dwell = dwellOf(settings);
    this.#lastStep = percentsOf(settings).length - 1;
  }

  get runs(): boolean {
    return this.#sinceMs !== undefined;
  }

  /** Its target's status has come since it began. */
  get isSeen(): boolean {
    return this.runs && this.#seen;
  }

  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#base = undefined;
    this.#seen = false;
  }

  end(): void {
    this.#sinceMs = undefined;
  }

  /**
   * A status of the target while the step runs.
   *
   * @returns when to give up hearing of it again
   */
  see(target: ReplicaStatus, nowMs: number): number {
    const { stepDwellMsMax, blindMsMax } = this.#settings;
    this.#seen = true;
    this.#base ??= target.executed;
    return Math.max(nowMs, (this.#sinceMs ?? nowMs) + stepDwellMsMax) + blindMsMax;
  }

  /**
   * Why it must not go on: the target is worse than the source, or, after the hand-off, than placement promised. Notes in
   * the record what users measured.
   */
  objection(
    record: MigrationRecord,
    target: ReplicaStatus,
    source: ReplicaStatus | undefined,
  ): string | undefined {
    const { gates } = this.#settings;
    const worse = source && objection(executedSince(target.executed, this.#base), source.executed, gates);
    return worse ?? (record.handedOff ? judgePromise(record, target, gates) : undefined);
  }

  isOver(record: MigrationRecord, target: ReplicaStatus, nowMs: number): boolean {
    const overAtMs = this.overAtMs(record, target);
    return overAtMs !== undefined && nowMs >= overAtMs;
  }

  /** When it is over if nothing more is seen in it; undefined before anything was. */
  overAtMs(record: MigrationRecord, target: ReplicaStatus | undefined): number | undefined {
    return this.#sinceMs !== undefined && this.#seen
      ? this.#sinceMs + this.#dwellMs(record, target)
      : undefined;
  }

  /** How long it lasts, by what has been seen in it: shortest with enough samples, else longest. */
  #dwellMs(record: MigrationRecord, target: ReplicaStatus | undefined): number {
    const { stepSamplesMin, gates } = this.#settings;
    const worked = target ? countOf(executedSince(target.executed, this.#base)) : 0;
    const isLast = record.handedOff && record.step >= this.#lastStep;
    const isJudged = !isLast || isPromiseJudged(record, target, gates);
    return worked >= stepSamplesMin && isJudged ? this.#dwell.minMs : this.#dwell.maxMs;
  }
}
