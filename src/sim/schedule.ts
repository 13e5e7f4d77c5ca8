/**
 * The faults of one run, as a list: drawn from the seed before the run begins, with everything about each decided.
 *
 * Because nothing is drawn while the run goes on, a fault can be left out without changing the others: that is what
 * shrinking a failure needs (`shrink.ts`). Boundary: nouns and their drawing; what each does to a cluster is in
 * `faults.ts`.
 */
import type { Random } from '../io/io.ts';

/** What can go wrong, by name: what it does, and how often it is drawn against the others. */
export const FAULTS = {
  'node crash': { weight: 4, text: 'kill -9 of a node; its supervisor revokes the lease and restarts it' },
  'host lost': { weight: 2, text: 'a node vanishes with its host: no peer hears of it, the lease runs out' },
  'store crash': { weight: 2, text: 'kill -9 of a store process; its database stays' },
  'gateway crash': { weight: 1, text: 'kill -9 of a gateway' },
  'controller crash': { weight: 2, text: 'kill -9 of a controller' },
  'everything crashes': { weight: 0.5, text: 'all processes at once; databases and disks stay' },
  'hand-off crash': {
    weight: 3,
    text: 'source, target, a store or the controller dies in the middle of the next hand-off between cells',
  },
  'short pause': { weight: 2, text: 'a node stands still for 0.2 to 1.7 s, shorter than its lease' },
  'pause beyond the lease': { weight: 2, text: 'a node stands still for 3.5 to 7.5 s and comes back' },
  'store pause': { weight: 1, text: 'a store process stands still for 0.2 to 4.2 s' },
  'controller pause': { weight: 1, text: 'a controller stands still for 1 to 10 s and goes on where it was' },
  partition: { weight: 3, text: 'two processes cannot reach each other for 0.5 to 8.5 s' },
  'one-way partition': {
    weight: 3,
    text: 'A hears B, B does not hear A, for 0.5 to 8.5 s; frames come late',
  },
  isolation: { weight: 1, text: 'a process is cut off from all others for 0.5 to 6.5 s' },
  'connections break': {
    weight: 1,
    text: 'all connections of a process break; frames on the way may be lost',
  },
  'slow network': {
    weight: 1,
    text: 'all ways take up to four times as long, with up to 100 ms jitter, for 3 s',
  },
  'slow store': { weight: 1, text: 'every call of a store begins 50 to 1,500 ms late, for 3 s' },
  'failing store': {
    weight: 2,
    text: 'half of the calls of a store fail as unavailable, half of those though they happened, for 2 s',
  },
  'late answers': {
    weight: 2,
    text: 'a third of the calls of a store happen and are answered late or never, for 3 s',
  },
  'late writes': {
    weight: 2,
    text: 'a third of the writes at a store happen 0.5 to 12 s after they were sent, mostly after the caller gave up',
  },
  'late watch': { weight: 1, text: 'news from the control store come 0.5 to 5 s late, for 4 s' },
  'clock drift': { weight: 2, text: 'a monotonic clock runs up to 4 % fast or slow from now on' },
  'clock jump': { weight: 1, text: 'a wall clock jumps by up to an hour, forward or back' },
  'two leaders': {
    weight: 1,
    text: 'the first controller loses the control store and goes on giving orders to nodes, for 4 to 9 s',
  },
  'another controller': { weight: 0.5, text: 'a further controller process starts beside the others' },
} as const;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Largest drift of a monotonic clock: two at the opposite ends stay within a lease's margin of a tenth. */
export const CLOCK_DRIFT_MAX = 0.04;

/** One fault. Its place in the schedule is its number: what is kept when a failure shrinks. */
export interface Fault {
  number: number;
  name: FaultName;
  /** Virtual time since users and faults began, milliseconds. */
  atMs: number;
  /** The process it happens to, and for partitions the other one. Names outlive restarts. */
  on: string;
  other: string;
  /** How long it lasts, where it lasts. */
  forMs: number;
  /** How bad, in [0, 1): each fault reads it in its own way. */
  grade: number;
}

export interface ScheduleOptions {
  /** Which processes there are, by role. */
  names: (role: 'store' | 'node' | 'gateway' | 'controller') => string[];
  /** Faults are drawn from the beginning until here, virtual milliseconds. */
  lengthMs: number;
  /** Mean pause between two faults, virtual milliseconds; 0: none. */
  everyMs: number;
  /** Only these; all where absent. */
  only?: readonly FaultName[];
}

/** Exponential pauses: now and then two faults fall together. */
export function drawSchedule(random: Random, options: ScheduleOptions): Fault[] {
  const faults: Fault[] = [];
  if (options.everyMs <= 0) return faults;
  const names = (options.only ?? FAULT_NAMES).filter((name) => FAULTS[name].weight > 0);
  const total = names.reduce((sum, name) => sum + FAULTS[name].weight, 0);
  if (total === 0) return faults;
  let atMs = 0;
  for (;;) {
    atMs += -Math.log(1 - random.next()) * options.everyMs;
    if (atMs >= options.lengthMs) return faults;
    // Each fault has a stream of its own: one more draw for one kind does not change the next fault.
    const own = random.split(`fault ${faults.length}`);
    let draw = own.next() * total;
    let name = names.at(-1)!;
    for (const candidate of names) {
      draw -= FAULTS[candidate].weight;
      if (draw >= 0) continue;
      name = candidate;
      break;
    }
    faults.push({ number: faults.length, name, atMs: Math.round(atMs), ...aim(name, own, options) });
  }
}

/** Where a fault strikes, for how long and how hard. */
function aim(
  name: FaultName,
  random: Random,
  { names }: ScheduleOptions,
): Pick<Fault, 'on' | 'other' | 'forMs' | 'grade'> {
  const pick = (from: string[]) => from[Math.floor(random.next() * from.length)] ?? '';
  const everyone = [...names('node'), ...names('store'), ...names('gateway'), ...names('controller')];
  const candidates = POOLS[name];
  const on = pick(candidates === 'everyone' ? everyone : names(candidates));
  const other = pick(everyone.filter((one) => one !== on));
  const [leastMs, mostMs] = LENGTHS_MS[name] ?? [0, 0];
  return {
    on,
    other,
    forMs: Math.round(leastMs + random.next() * (mostMs - leastMs)),
    grade: random.next(),
  };
}

const POOLS: Record<FaultName, 'store' | 'node' | 'gateway' | 'controller' | 'everyone'> = {
  'node crash': 'node',
  'host lost': 'node',
  'store crash': 'store',
  'gateway crash': 'gateway',
  'controller crash': 'controller',
  'everything crashes': 'everyone',
  'hand-off crash': 'node',
  'short pause': 'node',
  'pause beyond the lease': 'node',
  'store pause': 'store',
  'controller pause': 'controller',
  partition: 'everyone',
  'one-way partition': 'everyone',
  isolation: 'everyone',
  'connections break': 'everyone',
  'slow network': 'everyone',
  'slow store': 'store',
  'failing store': 'store',
  'late answers': 'store',
  'late writes': 'store',
  'late watch': 'store',
  'clock drift': 'everyone',
  'clock jump': 'everyone',
  'two leaders': 'controller',
  'another controller': 'controller',
};

const LENGTHS_MS: Partial<Record<FaultName, [leastMs: number, mostMs: number]>> = {
  'hand-off crash': [3_000, 3_000],
  'short pause': [200, 1_700],
  'pause beyond the lease': [3_500, 7_500],
  'store pause': [200, 4_200],
  'controller pause': [1_000, 10_000],
  partition: [500, 8_500],
  'one-way partition': [500, 8_500],
  isolation: [500, 6_500],
  'slow network': [3_000, 3_000],
  'slow store': [3_000, 3_000],
  'failing store': [2_000, 2_000],
  'late answers': [3_000, 3_000],
  'late writes': [3_000, 3_000],
  'late watch': [4_000, 4_000],
  'two leaders': [4_000, 9_000],
};

/** As a line of a trace: number, time, name, target. */
export function formatFault({ number, name, atMs, on, other, forMs }: Fault): string {
  const isPair = name === 'partition' || name === 'one-way partition';
  const where = name === 'everything crashes' || name === 'slow network' ? '' : `: ${on}`;
  const lasts = forMs > 0 ? `, ${(forMs / 1000).toFixed(1)} s` : '';
  return `#${number} at ${(atMs / 1000).toFixed(3)} s ${name}${where}${isPair ? ` | ${other}` : ''}${lasts}`;
}
