/**
 * A scenario: load, cluster and what is compared, as plain data that can be published beforehand, and its check.
 *
 * Boundary: `parseScenario` takes anything and names path and expectation where it is wrong; unknown members are errors, so
 * that a misspelt parameter is not silently the default.
 */
import { AWS_THREE_REGIONS, type Topology } from '../model/topology.ts';
import { GENERATORS, type GeneratorName } from './generate.ts';
import { type ClusterModel, DEFAULT_CLUSTER, POLICY_IDS, type PolicyId } from './model.ts';

export interface Scenario {
  name: string;
  /** What it is like, in a sentence. */
  text: string;
  /** What was expected before it was run. */
  expected: string;
  /** Reduction of minutes over the objective against the best non-predictive policy that was expected: from, to. */
  expectedReduction?: [from: number, to: number];
  /** Seeds that the 95 % interval is over. */
  seeds: number;
  /** Generated load; absent where traces are given. */
  generator?: GeneratorName;
  /** For the benchmark: a real trace, `<file>/<metric>`, in JSON Lines. */
  trace?: string;
  tenants: number;
  days: number;
  stepS?: number;
  /** Of a tenant, and of a shard where a series is split over several. */
  noise: number;
  shards?: number;
  zipf: number;
  sizePower: number;
  homeShare: number;
  followTheSun: boolean;
  regions: string[];
  /** Nodes that the busiest step fills wholly. */
  peakNodes: number;
  stateGb: number;
  stateSpread: number;
  policies: PolicyId[];
  /** `predictive` asks the trained network, as a controller does; without it it learns in half the time. */
  network: boolean;
  headrooms: number[];
  fixedHeadrooms: number[];
  /** Share of the time that is learnt from and tuned on; the rest is scored. */
  learnShare: number;
  /** Share of the time over the objective that is accepted: dollars beyond what buys it are not compared. */
  accepted: number;
  cluster: Omit<ClusterModel, 'topology'>;
}

const { topology: _topology, ...CLUSTER } = DEFAULT_CLUSTER;

export const DEFAULT_SCENARIO: Scenario = {
  name: 'custom',
  text: 'your own load',
  expected: '',
  seeds: 3,
  tenants: 40,
  days: 14,
  noise: 0.1,
  zipf: 0.9,
  sizePower: 1,
  homeShare: 0.9,
  followTheSun: false,
  regions: ['us-east-1'],
  peakNodes: 12,
  stateGb: 2,
  stateSpread: 0.5,
  policies: [...POLICY_IDS],
  network: true,
  headrooms: [0.3, 0.45, 0.6, 0.7, 0.8],
  fixedHeadrooms: [0.6, 0.9, 1.3, 2],
  learnShare: 0.5,
  accepted: 0.01,
  cluster: CLUSTER,
};

/** What is wrong with a scenario file. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
}

type Check = (value: unknown) => string | undefined;

const text: Check = (value) => (typeof value === 'string' && value !== '' ? undefined : 'a text');
const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const number =
  (min: number, max: number, what = 'a number'): Check =>
  (value) =>
    typeof value === 'number' && value >= min && value <= max ? undefined : `${what} from ${min} to ${max}`;
const whole = (min: number, max: number): Check => {
  const inRange = number(min, max, 'a whole number');
  return (value) => (Number.isInteger(value) ? inRange(value) : `a whole number from ${min} to ${max}`);
};
const listOf =
  (check: Check, what: string): Check =>
  (value) =>
    Array.isArray(value) && value.length > 0 && value.every((one) => check(one) === undefined)
      ? undefined
      : `a list of ${what}`;
const oneOf =
  (names: readonly string[]): Check =>
  (value) =>
    names.includes(value as string) ? undefined : `one of ${names.join(', ')}`;

const CHECKS: Record<Exclude<keyof Scenario, 'cluster'>, Check> = {
  name: text,
  text,
  expected: (value) => (typeof value === 'string' ? undefined : 'a text'),
  expectedReduction: (value) =>
    Array.isArray(value) && value.length === 2 && value.every((one) => typeof one === 'number')
      ? undefined
      : 'two numbers, from and to',
  seeds: whole(1, 100),
  generator: oneOf(GENERATORS),
  trace: text,
  tenants: whole(1, 100_000),
  days: number(0.01, 400),
  stepS: number(1, 86_400),
  noise: number(0, 2),
  shards: whole(1, 100_000),
  zipf: number(0, 3),
  sizePower: number(0, 1),
  homeShare: number(0, 1),
  followTheSun: flag,
  regions: listOf(oneOf(AWS_THREE_REGIONS.regions), `regions: ${AWS_THREE_REGIONS.regions.join(', ')}`),
  peakNodes: number(0.1, 10_000),
  stateGb: number(0, 10_000),
  stateSpread: number(0, 3),
  policies: listOf(oneOf(POLICY_IDS), `policies: ${POLICY_IDS.join(', ')}`),
  network: flag,
  headrooms: listOf(number(0.05, 1), 'shares from 0.05 to 1'),
  fixedHeadrooms: listOf(number(0.05, 10), 'shares from 0.05 to 10'),
  learnShare: number(0.1, 0.9),
  accepted: number(0, 0.5),
};

const CLUSTER_CHECKS: Record<keyof Scenario['cluster'], Check> = {
  nodeCpu: number(0.01, 1000),
  nodeMemoryBytes: number(1e6, 1e14),
  nodeStartS: number(0, 86_400),
  nodesMinPerRegion: whole(1, 10_000),
  nodesMaxPerRegion: whole(1, 10_000),
  cpuSecondsPerRequest: number(1e-6, 100),
  commandShare: number(0, 1),
  bytesPerRequest: number(0, 1e9),
  moveBytesPerSecond: number(1, 1e12),
  moveFixedS: number(0, 86_400),
  moveCpuSecondsPerGb: number(0, 1000),
  handOffPauseMs: number(0, 1e6),
  movesPerNode: whole(1, 1000),
  movesInFlight: whole(1, 100_000),
  objectiveMs: number(1, 1e6),
  waitMaxS: number(0.1, 3600),
  failuresPerNodeMonth: number(0, 1000),
  failoverS: number(0, 3600),
  standbys: whole(0, 1),
  standbyCpuShare: number(0, 1),
  scaleDownS: number(0, 86_400),
};

/**
 * @param value a parsed scenario file: any of {@link Scenario}'s members; the rest are the defaults
 * @throws ScenarioError with the JSON path and what was expected
 */
export function parseScenario(value: unknown, base: Scenario = DEFAULT_SCENARIO): Scenario {
  const members = record(value, '$');
  const given = checked(members, CHECKS, '$', ['cluster']);
  const cluster =
    members.cluster === undefined
      ? {}
      : checked(record(members.cluster, '$.cluster'), CLUSTER_CHECKS, '$.cluster', []);
  const whole = { ...base, ...given, cluster: { ...base.cluster, ...cluster } };
  const { nodesMinPerRegion: least, nodesMaxPerRegion: most } = whole.cluster;
  if (least > most)
    throw new ScenarioError(
      `$.cluster.nodesMinPerRegion: expected at most nodesMaxPerRegion (${most}), found ${least}`,
    );
  return whole;
}

function record(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ScenarioError(`${path}: expected an object`);
  return value as Record<string, unknown>;
}

function checked(
  members: Record<string, unknown>,
  checks: Record<string, Check>,
  path: string,
  others: readonly string[],
): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(members)) {
    if (others.includes(name)) continue;
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined)
      throw new ScenarioError(
        `${path}.${name}: there is no such parameter; there are ${[...Object.keys(checks), ...others].join(', ')}`,
      );
    const expected = check(value);
    if (expected !== undefined)
      throw new ScenarioError(`${path}.${name}: expected ${expected}, found ${JSON.stringify(value)}`);
    given[name] = value;
  }
  return given;
}

/** The scenario's cluster with the facts of distance and price, and prices of one's own. */
export function clusterOf(scenario: Scenario, nodeUsdPerHour?: number): ClusterModel {
  const topology: Topology =
    nodeUsdPerHour === undefined
      ? AWS_THREE_REGIONS
      : {
          ...AWS_THREE_REGIONS,
          nodeUsdPerHour: Object.fromEntries(
            AWS_THREE_REGIONS.regions.map((region) => [region, nodeUsdPerHour]),
          ),
        };
  return { ...scenario.cluster, topology };
}
