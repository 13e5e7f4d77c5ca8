/**
 * Published facts of 21 AWS regions: distances, prices, time zones. The one place where they are written.
 *
 * Round trips: VM to VM averages, row to column, milliseconds (skyplane-project/skyplane `profiles/latency.csv`, 2022,
 * Apache-2.0). Egress: USD a GB to any other region of the provider (the same project's `profiles/cost.csv` and
 * `aws_transfer_costs.csv`); us-east-1 and us-east-2 charge each other half. Nodes: m5.large on demand, USD an hour (2022,
 * skypilot-catalog; sa-east-1, which it lacks, from the provider's price list). Time zones are standard time.
 */

interface AwsRegion {
  name: string;
  utcOffsetHours: number;
  nodeUsdPerHour: number;
  egressUsdPerGb: number;
}

const region = (
  name: string,
  utcOffsetHours: number,
  nodeUsdPerHour: number,
  egressUsdPerGb: number,
): AwsRegion => ({ name, utcOffsetHours, nodeUsdPerHour, egressUsdPerGb });

/** In the order of the rows and columns of the round trips. */
export const AWS_REGIONS: readonly AwsRegion[] = [
  region('af-south-1', 2, 0.127, 0.147),
  region('ap-east-1', 8, 0.132, 0.09),
  region('ap-northeast-1', 9, 0.124, 0.09),
  region('ap-northeast-2', 9, 0.118, 0.08),
  region('ap-northeast-3', 9, 0.124, 0.09),
  region('ap-south-1', 5.5, 0.101, 0.086),
  region('ap-southeast-1', 8, 0.12, 0.09),
  region('ap-southeast-2', 10, 0.12, 0.098),
  region('ap-southeast-3', 7, 0.12, 0.1),
  region('ca-central-1', -5, 0.107, 0.02),
  region('eu-central-1', 1, 0.115, 0.02),
  region('eu-north-1', 1, 0.102, 0.02),
  region('eu-south-1', 1, 0.112, 0.02),
  region('eu-west-1', 0, 0.107, 0.02),
  region('eu-west-2', 0, 0.111, 0.02),
  region('me-south-1', 3, 0.118, 0.1105),
  region('sa-east-1', -3, 0.153, 0.138),
  region('us-east-1', -5, 0.096, 0.02),
  region('us-east-2', -5, 0.096, 0.02),
  region('us-west-1', -8, 0.112, 0.02),
  region('us-west-2', -8, 0.096, 0.02),
];

/** Row to column. */
const AWS_RTT_MS: readonly (readonly number[])[] = [
  [
    0.8, 248.8, 370.3, 394.1, 368.6, 157.4, 202.2, 403.4, 217.5, 220.8, 164.4, 169.1, 186.1, 153.1, 146.9,
    140.8, 335.1, 219.7, 229, 289.9, 279.1,
  ],
  [
    248.8, 0.8, 53.1, 74.1, 43.4, 103.6, 38.6, 129.1, 59.1, 197.7, 191.7, 212.9, 191, 223.8, 200.1, 125.1,
    325.5, 211.7, 186.3, 149.7, 143.6,
  ],
  [
    370.3, 52.6, 0.8, 32.9, 8.2, 129.7, 72, 114.6, 89.8, 158, 222.5, 243.6, 215.2, 214.4, 224.2, 157.6, 281.7,
    169.1, 145.4, 105.1, 97.7,
  ],
  [
    398.2, 74.1, 32, 0.8, 28.4, 151.7, 95.8, 148, 112.7, 181.3, 249.1, 271.7, 241, 240.6, 249.5, 172.1, 308.4,
    193.9, 173.4, 135.1, 125.3,
  ],
  [
    368.6, 43, 8.2, 28.5, 0.8, 113.8, 71.7, 114.3, 84.8, 154.4, 220.4, 239.8, 212.1, 213.9, 224, 145.4, 285.4,
    158.5, 144, 108.4, 97.6,
  ],
  [
    155.5, 99.4, 129.7, 151.5, 113.8, 0.8, 59.3, 138, 66.6, 186.8, 113.9, 132.4, 108.6, 120.3, 111.3, 35.9,
    299.1, 187.7, 193.7, 220.7, 211,
  ],
  [
    202.2, 31.3, 77.2, 95.8, 71.7, 59.3, 0.8, 93.3, 14.9, 221.6, 155.2, 174.1, 146.8, 178.4, 170.4, 94.3,
    360.1, 236.6, 215.2, 177.5, 163.7,
  ],
  [
    403.4, 129.1, 114.6, 148.1, 114.3, 143.4, 93.4, 0.8, 105.5, 196.3, 245.6, 290.4, 238.1, 255.7, 263.7,
    168.8, 307.8, 197.3, 185.3, 136.4, 138.6,
  ],
  [
    217.5, 59.1, 87.3, 112.1, 84.8, 69.6, 15.8, 105.5, 0.8, 235.9, 168.9, 188.4, 161, 195.2, 184.4, 107.5,
    373.9, 257.9, 223.4, 191.2, 183.5,
  ],
  [
    220.8, 197.7, 157.9, 181.3, 154.3, 186.8, 221.6, 196.3, 234.1, 0.8, 88.2, 106.4, 99.1, 69.3, 77.2, 155.6,
    125.4, 14.1, 23.8, 78.1, 66.8,
  ],
  [
    164.4, 199.5, 223.2, 249.1, 220.6, 113.9, 155.1, 245.6, 178.2, 90.6, 0.8, 22, 11.2, 22.7, 13.8, 83.5, 203,
    89.8, 99.3, 147.4, 148.2,
  ],
  [
    169.1, 212.9, 243.3, 272.1, 239.8, 133.3, 174.1, 290.6, 188.4, 106.4, 22, 0.8, 31.8, 40, 32.1, 102.9,
    221.8, 110.1, 118.9, 174.5, 156.5,
  ],
  [
    186, 191.2, 215.1, 241, 212.1, 108.6, 146.8, 238.1, 160.6, 99.1, 11.1, 31.8, 0.8, 33.4, 25.5, 91.9, 210.7,
    99.4, 109.4, 158.8, 156.8,
  ],
  [
    156.9, 223.8, 214.4, 240.6, 213.3, 122.6, 179, 253.9, 191.8, 69.3, 22.3, 40, 33.4, 0.8, 10.6, 93.6, 179.7,
    84.9, 76.5, 136.4, 122.3,
  ],
  [
    146.8, 200.7, 224.2, 250.2, 224, 109.7, 170.4, 263.8, 183.8, 77.2, 13, 32.1, 26.3, 10.8, 0.8, 82.8, 187.9,
    76.8, 86.3, 146, 131,
  ],
  [
    140.8, 125.1, 157.6, 171.8, 145.4, 35.9, 94.3, 168.8, 100.4, 155.6, 83.7, 102.9, 92, 90.8, 83.1, 0.8,
    271.1, 157, 166.5, 217.1, 215.8,
  ],
  [
    335.1, 325.5, 281.7, 308.4, 285.4, 298.3, 358.3, 307.9, 369.8, 125.4, 202.9, 224, 210.7, 179.6, 189.8,
    271.1, 0.8, 115.1, 124.8, 177, 186.7,
  ],
  [
    219.7, 211.8, 167.8, 195, 158.5, 187.6, 236.6, 197, 257.9, 14.1, 89.8, 110.1, 99.4, 84.9, 76.7, 157,
    116.7, 0.8, 11.5, 59.6, 68.3,
  ],
  [
    229, 186.8, 145.4, 174.3, 144, 193.6, 216.7, 185.3, 228.7, 23.8, 99.1, 118.9, 109.4, 76.5, 86.3, 166.5,
    124.8, 11.4, 0.8, 49, 54.2,
  ],
  [
    289.9, 149.7, 105.1, 135.1, 108.4, 227.8, 177.7, 136.4, 190.6, 78.1, 147.4, 174.5, 158.8, 136.3, 146,
    217.1, 177, 59.5, 49, 0.8, 20.6,
  ],
  [
    279.1, 138.6, 97.5, 125.3, 97.6, 210.7, 168.9, 138.6, 178.4, 66.9, 146.6, 157.2, 156.8, 122.3, 129.8,
    217.3, 186.7, 68.5, 54.2, 20.7, 0.8,
  ],
];

/** @throws RangeError for a region that is not in the table */
export function awsRegion(name: string): AwsRegion {
  return AWS_REGIONS[indexOf(name)]!;
}

/** Milliseconds there and back between virtual machines of two regions. */
export function awsRttMs(from: string, to: string): number {
  return AWS_RTT_MS[indexOf(from)]![indexOf(to)]!;
}

/** USD for a GB from one region to another. */
export function awsEgressUsdPerGb(from: string, to: string): number {
  if (from === to) return 0;
  if (from.startsWith('us-east-') && to.startsWith('us-east-')) return 0.01;
  return awsRegion(from).egressUsdPerGb;
}

function indexOf(name: string): number {
  const index = AWS_REGIONS.findIndex((one) => one.name === name);
  if (index < 0) throw new RangeError(`${name} is not among the AWS regions of the table`);
  return index;
}
