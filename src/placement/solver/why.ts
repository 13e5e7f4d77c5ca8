/**
 * Why a shard is where it is: what its best alternatives would cost at the same prices, in numbers and in one sentence.
 *
 * Prices are the region prices of the certificate: what a unit of load costs there because others want it too.
 */
import { usd } from '../dollars.ts';
import type { Dual } from './dual.ts';
import { primaryMoveUsd, standbyMoveUsd } from './objective.ts';
import { type Names, type Problem, regionAllowed } from './problem.ts';

/** Decimals of dollars an hour: a shard costs cents. */
const DECIMALS = 3;

export interface Why {
  /** Dollars an hour of its primary in the region where it is: own, and the price of its load. */
  ownUsdPerHour: number;
  priceUsdPerHour: number;
  moved: boolean;
  /** Dollars an hour saved against staying where it was; 0 where it stays. */
  gainUsdPerHour: number;
  /** One-time dollars of its moves, and what they count an hour. */
  moveUsd: number;
  moveUsdPerHour: number;
  /** The best other region, and how much more it would cost an hour, its move included. */
  runnerUp?: { region: string; moreUsdPerHour: number };
  text: string;
}

export function whyPlaced(dual: Dual, names: Names, place: Int32Array, s: number): Why | undefined {
  const { problem } = dual;
  const { width, nodeRegion, regionCount, start } = problem;
  const base = s * width;
  const p = place[base]!;
  if (p < 0) return undefined;
  dual.price(s);
  const region = nodeRegion[p]!;
  const usdIn = (r: number) => problem.value[s * regionCount + r]! + dual.primaryPrice(r);
  let moveUsd = primaryMoveUsd(problem, s, p);
  let moved = start[base]! >= 0 && start[base] !== p;
  for (let k = 1; k <= problem.standbys[s]!; k++) {
    const n = place[base + k]!;
    if (n < 0) continue;
    const usd = standbyMoveUsd(problem, s, n);
    if (usd > 0) moved = true;
    moveUsd += usd;
  }
  const moveUsdPerHour = moveUsd / problem.moveHours;
  const from = start[base]! < 0 ? -1 : nodeRegion[start[base]!]!;
  const gain = moved && from >= 0 ? usdIn(from) - usdIn(region) : 0;
  let runnerUp: Why['runnerUp'];
  for (let r = 0; r < regionCount; r++) {
    if (r === region || !regionAllowed(problem, s, r)) continue;
    const more = usdIn(r) + regionMoveUsd(problem, s, r) / problem.moveHours - usdIn(region) - moveUsdPerHour;
    if (runnerUp === undefined || more < runnerUp.moreUsdPerHour)
      runnerUp = { region: names.regions[r]!, moreUsdPerHour: more };
  }
  const own = problem.value[s * regionCount + region]!;
  const price = dual.primaryPrice(region);
  const why: Omit<Why, 'text'> = {
    ownUsdPerHour: own,
    priceUsdPerHour: price,
    moved,
    gainUsdPerHour: gain,
    moveUsd,
    moveUsdPerHour,
    runnerUp,
  };
  return { ...why, text: textOf(why, names, problem, s, p, from) };
}

function regionMoveUsd(problem: Problem, s: number, r: number): number {
  const from = problem.start[s * problem.width]!;
  if (from < 0 || problem.nodeRegion[from] === r) return 0;
  return (
    problem.moveFarUsd[s]! +
    problem.stateGb[s]! * problem.egressUsdPerGb[problem.nodeRegion[from]! * problem.regionCount + r]!
  );
}

function textOf(
  why: Omit<Why, 'text'>,
  names: Names,
  problem: Problem,
  s: number,
  p: number,
  from: number,
): string {
  const region = names.regions[problem.nodeRegion[p]!]!;
  const parts = [`${region} costs its users and their bytes ${usd(why.ownUsdPerHour, DECIMALS)}/h`];
  if (why.priceUsdPerHour > 0)
    parts.push(`its load there ${usd(why.priceUsdPerHour, DECIMALS)}/h, since others want it too`);
  if (problem.frozen[s] === 1) parts.push('it is left alone: a migration is under way, or it is quarantined');
  else if (problem.pinnedTo[s]! >= 0) parts.push('an operator pinned it');
  else if (why.moved && from >= 0)
    parts.push(
      from === problem.nodeRegion[p]
        ? `it changes nodes within the region; moving costs ${usd(why.moveUsd, DECIMALS)}`
        : `it leaves ${names.regions[from]} and gains ${usd(why.gainUsdPerHour, DECIMALS)}/h; moving costs ${usd(why.moveUsd, DECIMALS)}`,
    );
  if (why.runnerUp !== undefined)
    parts.push(
      why.runnerUp.moreUsdPerHour >= 0
        ? `next best is ${why.runnerUp.region} at ${usd(why.runnerUp.moreUsdPerHour, DECIMALS)}/h more`
        : `${why.runnerUp.region} would be ${usd(-why.runnerUp.moreUsdPerHour, DECIMALS)}/h less at these prices, but has no room for it or is not worth a move`,
    );
  return parts.join('; ');
}
