/**
 * What a gigabyte of a move's bytes takes of each end's CPU: measured by nodes on every large copy, so that placement knows what
 * a move does to its ends. One number for the cluster: nodes add up by way, in or out, and do not tell services apart. Pure: fed with what
 * nodes report once a tick.
 *
 * Nodes report sums since their process began. So a report that was missed is made good by the next, and a controller that has just begun
 * to lead knows from its first tick what the nodes have seen; nothing is kept here over a restart.
 *
 * Invariants: whatever a report holds, the answer is finite and between 0 and {@link CPU_SECONDS_PER_GB_MAX}; less than
 * {@link BYTES_MIN} says nothing; nodes looked at are bounded.
 */
import type { ProcessId } from '../model/ids.ts';
import type { CopiesWork, CopyWork } from '../model/load.ts';

/** A measurement is made of so many bytes, whoever carried them: the first copies of a process are compiled as they run. */
export const BYTES_MIN = 16_000_000;
/** Twenty times what was seen (`bench/move-cpu.ts`): beyond it a report is nonsense, and left out. */
export const CPU_SECONDS_PER_GB_MAX = 250;
/** Weight of the newest measurement. */
const SMOOTHING = 0.3;
const NODES_MAX = 10_000;
const BYTES_PER_GB = 1e9;
const WAYS = ['in', 'out'] as const;

type Way = (typeof WAYS)[number];

/** A node's report; those of builds that do not tell their copies lack them. */
export interface CopiesReport {
  source: ProcessId;
  copies?: CopiesWork;
}

export class MoveCpu {
  /** What each node had reported when it was heard last. */
  #before = new Map<ProcessId, CopiesWork>();
  /** Heard, and not yet enough. */
  readonly #open = { in: { bytes: 0, cpuSeconds: 0 }, out: { bytes: 0, cpuSeconds: 0 } };
  readonly #perGb: Partial<Record<Way, number>> = {};

  /** @param present nodes of the cluster: of others what was heard is forgotten */
  observe(reports: readonly CopiesReport[], present: ReadonlySet<ProcessId>): void {
    for (const known of this.#before.keys()) if (!present.has(known)) this.#before.delete(known);
    for (const { source, copies } of reports.slice(0, NODES_MAX)) {
      const now = cleanWork(copies);
      if (now === undefined || !present.has(source)) continue;
      const before = this.#before.get(source);
      this.#before.set(source, now);
      for (const way of WAYS) this.#add(way, now[way], before?.[way] ?? NOTHING);
    }
    for (const way of WAYS) this.#measure(way);
  }

  /** Core-seconds of one end, the mean of both; undefined while nothing was measured. */
  get cpuSecondsPerGb(): number | undefined {
    const known = WAYS.flatMap((way) => this.#perGb[way] ?? []);
    return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0) / known.length;
  }

  #add(way: Way, now: CopyWork, before: CopyWork): void {
    const bytes = now.bytes - before.bytes;
    const cpuSeconds = now.cpuSeconds - before.cpuSeconds;
    // Sums that went back are of no process that we know: what comes next is counted from there.
    if (!(bytes > 0) || !(cpuSeconds >= 0)) return;
    if ((cpuSeconds / bytes) * BYTES_PER_GB > CPU_SECONDS_PER_GB_MAX) return;
    this.#open[way].bytes += bytes;
    this.#open[way].cpuSeconds += cpuSeconds;
  }

  #measure(way: Way): void {
    const open = this.#open[way];
    if (open.bytes < BYTES_MIN) return;
    const measured = (open.cpuSeconds / open.bytes) * BYTES_PER_GB;
    const known = this.#perGb[way] ?? measured;
    this.#perGb[way] = known + SMOOTHING * (measured - known);
    open.bytes = 0;
    open.cpuSeconds = 0;
  }
}

const NOTHING: CopyWork = { bytes: 0, cpuSeconds: 0 };

/** Undefined where it is no such report. */
function cleanWork(copies: unknown): CopiesWork | undefined {
  if (typeof copies !== 'object' || copies === null) return undefined;
  const { in: arrived, out: left } = copies as Partial<Record<Way, unknown>>;
  const [into, out] = [cleanOne(arrived), cleanOne(left)];
  return into === undefined || out === undefined ? undefined : { in: into, out };
}

function cleanOne(work: unknown): CopyWork | undefined {
  if (typeof work !== 'object' || work === null) return undefined;
  const { bytes, cpuSeconds } = work as Partial<Record<keyof CopyWork, unknown>>;
  return isSum(bytes) && isSum(cpuSeconds) ? { bytes, cpuSeconds } : undefined;
}

function isSum(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}
