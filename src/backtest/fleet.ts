/**
 * How many nodes a region should have, and which one to give back. Pure; the same for every policy that scales by
 * demand, which differ in the demand they foresee.
 *
 * Adding looks ahead: the most that is foreseen until a node asked for now would be in use, and what is measured. Giving back
 * looks at what is measured, foreseen and was wanted of late: a forecast may add early, it never takes away what the measured
 * load needs (the same rule as the controller's). Memory counts like CPU: state needs a home also when nobody asks for it.
 */

export interface RegionDemand {
  /** Core-seconds a second measured in the last step. */
  nowCpu: number;
  /** Foreseen at each horizon, at the quantile that is provided for. */
  aheadCpu: readonly number[];
  stateBytes: number;
}

export interface FleetLimits {
  nodeCpu: number;
  nodeMemoryBytes: number;
  nodesMin: number;
  nodesMax: number;
}

/** Memory is filled to this share, so that moves have room. */
export const MEMORY_SHARE_MAX = 0.85;

/** Nodes for a demand at a headroom (the share of a node's CPU that may be used). */
export function nodesFor(cpu: number, stateBytes: number, headroom: number, limits: FleetLimits): number {
  const byCpu = Math.ceil(cpu / (limits.nodeCpu * headroom) - 1e-9);
  const byMemory = Math.ceil(stateBytes / (limits.nodeMemoryBytes * MEMORY_SHARE_MAX) - 1e-9);
  return Math.min(limits.nodesMax, Math.max(limits.nodesMin, byCpu, byMemory));
}

/** All shards' demand together at some horizons, in any unit: a forecast of the aggregate, since bands are not summed. */
export interface TotalDemand {
  p50: readonly number[];
  p90: readonly number[];
  p99: readonly number[];
}

/** At the product's default headroom the p90 is provided for, by which nodes are sized everywhere. */
const USUAL_HEADROOM = 0.75;
const USUAL_RISK = 0.1;
const RISK_MAX = 0.5;

/**
 * The demand to provide for. Who leaves more of a node free pays more for the same load, so finds waiting dearer against nodes
 * and accepts less risk that the demand is above what was provided: the risk falls with the square of the headroom. Between the known
 * quantiles, and beyond them, tails are taken as exponential.
 */
export function providedFor(total: TotalDemand, headroom: number): number[] {
  const risk = Math.min(RISK_MAX, USUAL_RISK * (headroom / USUAL_HEADROOM) ** 2);
  return total.p50.map((p50, h) => {
    const p90 = Math.max(p50, total.p90[h]!);
    const p99 = Math.max(p90, total.p99[h]!);
    if (risk <= 0.1) return p90 + ((p99 - p90) * Math.log(0.1 / risk)) / Math.log(10);
    return p90 - ((p90 - p50) * Math.log(risk / 0.1)) / Math.log(5);
  });
}

/** What a region's fleet should do now. */
export interface FleetWish {
  /** Nodes wanted to be there or on their way. */
  atLeast: number;
  /** Nodes beyond this may be given back. */
  atMost: number;
}

/** Remembers what was wanted, so that capacity is given back only after it was not wanted for a while. */
export class FleetMemory {
  readonly #windowS: number;
  #wanted: { atS: number; nodes: number }[] = [];

  constructor(windowS: number) {
    this.#windowS = windowS;
  }

  wish(nowS: number, demand: RegionDemand, headroom: number, limits: FleetLimits): FleetWish {
    const ahead = Math.max(0, ...demand.aheadCpu);
    const atLeast = nodesFor(Math.max(ahead, demand.nowCpu), demand.stateBytes, headroom, limits);
    this.#wanted.push({ atS: nowS, nodes: atLeast });
    this.#wanted = this.#wanted.filter(({ atS }) => atS > nowS - this.#windowS - 1e-9);
    const atMost = this.#wanted.reduce((most, { nodes }) => Math.max(most, nodes), 0);
    return { atLeast, atMost };
  }
}
