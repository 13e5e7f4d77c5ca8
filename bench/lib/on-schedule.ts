/** Commands that leave on schedule, whether or not earlier ones have come back: load that does not wait for the store. */
import { type Measured, summary } from './etcd-path.ts';

const TICK_MS = 5;
/** Beyond so many under way the schedule is not kept: what is due then is skipped, and counted. */
const UNDER_WAY_MAX = 20_000;

export interface ScheduledRow extends Measured {
  /** Due, and not sent because too many were under way. */
  skipped: number;
  underWay: number;
  /** Longest time that this process itself stood still: the machine stopped it or gave it no time. */
  stalledMs: number;
}

export class OnSchedule {
  readonly #perSecond: number;
  readonly #send: (number: number) => Promise<unknown>;
  readonly #startMs = performance.now();
  /** Why commands failed, numbers left out. */
  readonly failures = new Map<string, number>();
  #sent = 0;
  #underWay = 0;
  #tookMs: number[] = [];
  #failed = 0;

  constructor(perSecond: number, send: (number: number) => Promise<unknown>) {
    this.#perSecond = perSecond;
    this.#send = send;
  }

  /** Since the first command was due. */
  get elapsedMs(): number {
    return performance.now() - this.#startMs;
  }

  /** Goes on until so many milliseconds after the beginning; what came back meanwhile, a time counted from when it was due. */
  async until(untilMs: number, onTick: () => void = () => {}): Promise<ScheduledRow> {
    const beginMs = this.elapsedMs;
    let skipped = 0;
    let stalledMs = 0;
    for (let lastMs = beginMs; lastMs < untilMs; ) {
      skipped += this.#sendDue();
      onTick();
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      const nowMs = this.elapsedMs;
      stalledMs = Math.max(stalledMs, nowMs - lastMs - TICK_MS);
      lastMs = nowMs;
    }
    const measured = summary(this.#tookMs, this.#failed, this.elapsedMs - beginMs);
    this.#tookMs = [];
    this.#failed = 0;
    return { ...measured, skipped, underWay: this.#underWay, stalledMs };
  }

  /** What is under way has its time: a node that ends cuts it off, and that would count as failed. */
  async drain(msMax: number): Promise<void> {
    const untilMs = this.elapsedMs + msMax;
    while (this.#underWay > 0 && this.elapsedMs < untilMs)
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }

  #sendDue(): number {
    const due = (this.elapsedMs / 1_000) * this.#perSecond;
    let skipped = 0;
    for (; this.#sent < due; this.#sent++) {
      if (this.#underWay >= UNDER_WAY_MAX) {
        skipped++;
        continue;
      }
      this.#underWay++;
      const dueMs = (this.#sent / this.#perSecond) * 1_000;
      this.#send(this.#sent).then(
        () => {
          this.#underWay--;
          this.#tookMs.push(this.elapsedMs - dueMs);
        },
        (error: Error) => {
          this.#underWay--;
          this.#failed++;
          const why = error.message.slice(0, 200).replaceAll(/k\d+|\d+/g, '#');
          this.failures.set(why, (this.failures.get(why) ?? 0) + 1);
        },
      );
    }
    return skipped;
  }
}
