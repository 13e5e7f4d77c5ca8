/**
 * How many nodes a region should have, and which one to give back. Pure; the same for every policy that scales by
 * demand, which differ in the demand they foresee.
 *
 * Adding looks ahead: the most that is foreseen until a node asked for now would be in use. Giving back looks at what is
 * measured, foreseen and was wanted of late: a forecast may add early, it never removes capacity by itself (the same rule
 * as the controller's). Memory counts like CPU: state of gigabytes needs a home also when nobody asks for it.
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
    const atLeast = nodesFor(ahead, demand.stateBytes, headroom, limits);
    const wanted = nodesFor(Math.max(ahead, demand.nowCpu), demand.stateBytes, headroom, limits);
    this.#wanted.push({ atS: nowS, nodes: wanted });
    this.#wanted = this.#wanted.filter(({ atS }) => atS > nowS - this.#windowS - 1e-9);
    const atMost = this.#wanted.reduce((most, { nodes }) => Math.max(most, nodes), 0);
    return { atLeast: Math.min(atLeast, atMost), atMost };
  }
}
