/**
 * Facts of distance and price between regions.
 *
 * Round trips: VM to VM averages between AWS regions, skyplane-project/skyplane `profiles/latency.csv` (2022,
 * Apache-2.0). Egress: the same project's `profiles/cost.csv` (2022), USD a GB from the row's region. Nodes: on-demand
 * m5.large, USD an hour (2022). The published pairs are asymmetric by up to a percent; rows are sources.
 */
import type { Region } from './ids.ts';

export interface Topology {
  regions: Region[];
  /** `rttMs[from][to]`, milliseconds for there and back. */
  rttMs: Record<Region, Record<Region, number>>;
  /** `egressUsdPerGb[from][to]`. */
  egressUsdPerGb: Record<Region, Record<Region, number>>;
  nodeUsdPerHour: Record<Region, number>;
}

export const AWS_THREE_REGIONS: Topology = {
  regions: ['us-east-1', 'eu-west-1', 'ap-northeast-1'],
  rttMs: {
    'us-east-1': { 'us-east-1': 0.8, 'eu-west-1': 84.9, 'ap-northeast-1': 167.8 },
    'eu-west-1': { 'us-east-1': 84.9, 'eu-west-1': 0.8, 'ap-northeast-1': 214.4 },
    'ap-northeast-1': { 'us-east-1': 169.1, 'eu-west-1': 214.4, 'ap-northeast-1': 0.8 },
  },
  egressUsdPerGb: {
    'us-east-1': { 'us-east-1': 0, 'eu-west-1': 0.02, 'ap-northeast-1': 0.02 },
    'eu-west-1': { 'us-east-1': 0.02, 'eu-west-1': 0, 'ap-northeast-1': 0.02 },
    'ap-northeast-1': { 'us-east-1': 0.09, 'eu-west-1': 0.09, 'ap-northeast-1': 0 },
  },
  nodeUsdPerHour: { 'us-east-1': 0.096, 'eu-west-1': 0.107, 'ap-northeast-1': 0.124 },
};

/** Round trip between two regions; unknown pairs count as the longest known one, never as near. */
export function rttMs(topology: Topology, from: Region, to: Region): number {
  const known = topology.rttMs[from]?.[to];
  if (known !== undefined) return known;
  let longest = 0;
  for (const row of Object.values(topology.rttMs))
    for (const ms of Object.values(row)) longest = Math.max(longest, ms);
  return from === to ? 0 : longest;
}
