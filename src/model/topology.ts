/**
 * Facts of distance and price between regions, as one value that can be handed around; AWS's come from `aws.ts`. The published pairs
 * are asymmetric by up to a percent; rows are sources.
 */
import { awsEgressUsdPerGb, awsRegion, awsRttMs } from './aws.ts';
import type { Region } from './ids.ts';

export interface Topology {
  regions: Region[];
  /** `rttMs[from][to]`, milliseconds for there and back. */
  rttMs: Record<Region, Record<Region, number>>;
  /** `egressUsdPerGb[from][to]`. */
  egressUsdPerGb: Record<Region, Record<Region, number>>;
  nodeUsdPerHour: Record<Region, number>;
}

/** The published facts (`aws.ts`) of some regions of AWS. */
export function awsTopology(regions: readonly Region[]): Topology {
  const rows = <Value>(value: (from: Region, to: Region) => Value) =>
    Object.fromEntries(
      regions.map((from) => [from, Object.fromEntries(regions.map((to) => [to, value(from, to)]))]),
    );
  return {
    regions: [...regions],
    rttMs: rows(awsRttMs),
    egressUsdPerGb: rows(awsEgressUsdPerGb),
    nodeUsdPerHour: Object.fromEntries(regions.map((name) => [name, awsRegion(name).nodeUsdPerHour])),
  };
}

export const AWS_THREE_REGIONS: Topology = awsTopology(['us-east-1', 'eu-west-1', 'ap-northeast-1']);

/** Round trip between two regions; unknown pairs count as the longest known one, never as near. */
export function rttMs(topology: Topology, from: Region, to: Region): number {
  const known = topology.rttMs[from]?.[to];
  if (known !== undefined) return known;
  let longest = 0;
  for (const row of Object.values(topology.rttMs))
    for (const ms of Object.values(row)) longest = Math.max(longest, ms);
  return from === to ? 0 : longest;
}
