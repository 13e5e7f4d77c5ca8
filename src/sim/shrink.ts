/**
 * Makes a failing run small: first fewer faults, then fewer clients, then fewer requests of each, as long as a rule
 * that was broken stays broken. Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
 * input", 2002): halves first, then single ones.
 *
 * What is left is three lists of names and numbers, which with the seed repeat the small failure exactly.
 */
import type { App } from '../sdk/service.ts';
import type { FaultName } from './schedule.ts';
import {
  type InternalOptions,
  type Kept,
  type SimulationOptions,
  type SimulationReport,
  simulate,
  simulateTally,
} from './simulate.ts';
import type { Workload } from './workload.ts';

/** A run costs half a second or so: shrinking ends after so many. */
const RUNS_MAX = 120;

/**
 * The least part of `items`, in order, for which `fails` still holds, by removing ever smaller pieces. `fails` must hold
 * for all of them.
 */
export async function minimize<Item>(
  items: readonly Item[],
  fails: (kept: Item[]) => Promise<boolean>,
): Promise<Item[]> {
  let kept = [...items];
  let pieces = 2;
  while (kept.length > 0) {
    const size = Math.ceil(kept.length / pieces);
    let removed = false;
    for (let at = 0; at < kept.length; ) {
      const rest = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (await fails(rest)) {
        kept = rest;
        removed = true;
      } else at += size;
    }
    if (size === 1 && !removed) return kept;
    pieces = removed ? 2 : Math.min(kept.length, pieces * 2);
  }
  return kept;
}

export interface Shrunk {
  keep: Kept;
  report: SimulationReport;
  runs: number;
}

/** @param run runs the seed with a part of it. */
export async function shrink(
  first: SimulationReport,
  begin: Kept,
  run: (keep: Kept) => Promise<SimulationReport>,
  say: (text: string) => void = () => {},
): Promise<Shrunk> {
  const broken = new Set(first.violations.map(({ rule }) => rule));
  let runs = 0;
  let best: { keep: Kept; report: SimulationReport } = { keep: begin, report: first };
  const fails = async (keep: Kept): Promise<boolean> => {
    if (runs >= RUNS_MAX) return false;
    runs++;
    const report = await run(keep);
    if (!report.violations.some(({ rule }) => broken.has(rule))) return false;
    best = { keep, report };
    return true;
  };
  const numbers = begin.faults ?? first.schedule.map(({ number }) => number);
  const faults = await minimize(numbers, (kept) => fails({ ...best.keep, faults: kept }));
  say(`${numbers.length} faults -> ${faults.length}`);
  const clients = await minimize(begin.clients ?? first.clients, (kept) =>
    fails({ ...best.keep, clients: kept }),
  );
  say(`${first.clients.length} clients -> ${clients.length}`);
  for (let operations = 256; operations >= 1; operations = Math.floor(operations / 2))
    if (!(await fails({ ...best.keep, operations }))) break;
  say(`at most ${best.keep.operations ?? 'any number of'} requests each; ${runs} runs`);
  return { ...best, runs };
}

/**
 * Runs many seeds of your app; the first that fails is made small and reported with what repeats it.
 *
 * @returns undefined where every seed passed.
 *
 * @example
 * const failure = await simulateMany(app, { seeds: 50, workload });
 * if (failure) throw new Error(failure.text);
 */
export async function simulateMany(
  app: App,
  {
    seeds,
    ...options
  }: Omit<SimulationOptions, 'seed'> & { workload: Workload; seeds: number; from?: number },
): Promise<{ text: string; keep: Kept; report: SimulationReport } | undefined> {
  const from = options.from ?? 1;
  for (let seed = from; seed < from + seeds; seed++) {
    const first = await simulate(app, { ...options, seed });
    if (first.violations.length === 0) continue;
    const { keep, report } = await shrink(first, options.keep ?? {}, (part) =>
      simulate(app, { ...options, seed, keep: part }),
    );
    const text = [
      ...report.violations.map(({ rule, text: said }) => `${rule}: ${said}`),
      ...report.trace.slice(-TRACE_LINES),
      `again: simulate(app, { ..., seed: ${seed}, keep: ${JSON.stringify(keep)} })`,
    ].join('\n');
    return { text, keep, report };
  }
  return undefined;
}

const TRACE_LINES = 60;

/** As {@link shrink}, for the simulated world's own app, with the command that runs it again. */
export async function shrinkTally(
  options: InternalOptions,
  first: SimulationReport,
  say?: (text: string) => void,
): Promise<Shrunk & { command: string }> {
  const shrunk = await shrink(first, options.keep ?? {}, (keep) => simulateTally({ ...options, keep }), say);
  return { ...shrunk, command: commandOf(String(options.seed), shrunk.keep, options.faultNames) };
}

/** The command line that runs a part of a seed again, with its trace. */
export function commandOf(seed: string, keep: Kept, faultNames?: readonly FaultName[]): string {
  const parts = ['node --conditions=skein-source bench/simulation.ts', `--seed ${seed}`];
  if (faultNames) parts.push(`--faults '${faultNames.join(',')}'`);
  if (keep.faults) parts.push(`--keep-faults '${keep.faults.join(',')}'`);
  if (keep.clients) parts.push(`--keep-clients '${keep.clients.join(',')}'`);
  if (keep.operations !== undefined) parts.push(`--keep-operations ${keep.operations}`);
  return [...parts, '--trace'].join(' ');
}
