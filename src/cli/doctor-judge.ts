/** What `skein doctor` makes of what it found: pure, one finding a sentence, each with what to type where it is not well. */
import {
  COMPACTION_BATCH_LIMIT,
  MAX_TXN_OPS,
  NEAR_ELECTION_MS,
  NEAR_HEARTBEAT_MS,
} from '../supervisor/etcd-cluster.ts';
import { bytes, duration } from './table.ts';

/** One member, as far as it answered. */
export interface MemberFacts {
  endpoint: string;
  /** Why it gave no answer. */
  error?: string;
  version?: string;
  memberId?: string;
  clusterId?: string;
  leaderId?: string;
  databaseBytes?: number;
  fileBytes?: number;
  alarms?: string[];
  /** Ahead of this machine's clock; to a second or so. */
  clockAheadMs?: number;
  quotaBytes?: number;
  /** Flags of its command line, where it shows them. */
  flags?: Record<string, string>;
}

export interface ClusterFacts {
  /** `control`, or the name of a cell. */
  name: string;
  address: string;
  members: MemberFacts[];
  /** Members that the cluster itself counts. */
  memberCount?: number;
  /** Whether a transaction of {@link MAX_TXN_OPS} operations was taken. */
  largeTransactions?: boolean;
  writeMs?: { p50: number; p99: number; count: number };
  writeError?: string;
  databaseBytesMax: number;
}

export interface Finding {
  store: string;
  check: string;
  level: 'ok' | 'warning' | 'failure';
  found: string;
  /** What to do about it; absent where all is well. */
  next?: string;
}

/** p99 of a small durable write beyond which commands feel slow. */
const WRITE_P99_MS_MAX = 100;
const CLOCK_MS_MAX = 2_000;
/** Median of a small durable write up to which members are near each other, with disks that are quick enough. */
const NEAR_WRITE_P50_MS_MAX = 20;
const ETCD_ELECTION_MS_DEFAULT = 1_000;
const VERSION_MIN = [3, 4] as const;
/** From 3.6 on the flag has left its experimental stage. */
const BATCH_FLAGS = ['compaction-batch-limit', 'experimental-compaction-batch-limit'];

export function judgeCluster(facts: ClusterFacts): Finding[] {
  const findings: Finding[] = [];
  const add = (check: string, level: Finding['level'], found: string, next?: string) =>
    findings.push({ store: facts.name, check, level, found, ...(next === undefined ? {} : { next }) });
  const up = facts.members.filter((member) => member.error === undefined);

  for (const { endpoint, error } of facts.members)
    if (error !== undefined)
      add('endpoint', 'failure', `${endpoint} gives no answer: ${error}`, remedyOfError(error, endpoint));
  if (up.length === 0) return findings;
  add('endpoints', 'ok', `${up.length} of ${facts.members.length} answer`);

  if (new Set(up.map((member) => member.clusterId)).size > 1)
    add(
      'cluster',
      'failure',
      'the endpoints belong to different clusters',
      `correct the address ${facts.address}`,
    );
  const leaders = new Set(up.map((member) => member.leaderId));
  if (leaders.has('0') || leaders.size > 1)
    add(
      'leader',
      'failure',
      'the members do not agree on a leader',
      'look at their logs: more than half of them must reach each other',
    );
  else add('leader', 'ok', `member ${[...leaders][0]} leads`);

  const count = facts.memberCount ?? facts.members.length;
  if (count < 3)
    add(
      'members',
      'warning',
      `${count} member${count === 1 ? '' : 's'}: losing one loses the store`,
      'run three members in three zones',
    );
  else if (count % 2 === 0)
    add(
      'members',
      'warning',
      `${count} members survive no more losses than ${count - 1}`,
      'add or remove one',
    );
  else add('members', 'ok', `${count} members`);
  if (count > facts.members.length)
    add(
      'address',
      'warning',
      `the address names ${facts.members.length} of ${count} members`,
      'name all, so that any one of them may be away',
    );

  judgeVersions(up, add);
  for (const member of up) judgeMember(member, facts, add);
  if (count >= 3) judgeElections(up, facts, add);

  if (facts.largeTransactions === false)
    add(
      '--max-txn-ops',
      'warning',
      'transactions of 20,000 operations are refused',
      `start every member with --max-txn-ops ${MAX_TXN_OPS}`,
    );
  else if (facts.largeTransactions) add('--max-txn-ops', 'ok', `at least ${MAX_TXN_OPS}`);

  if (facts.writeError !== undefined)
    add('write', 'failure', facts.writeError, remedyOfError(facts.writeError, facts.address));
  else if (facts.writeMs) {
    const { p50, p99, count: writes } = facts.writeMs;
    const found = `p50 ${duration3(p50)}, p99 ${duration3(p99)} of ${writes} writes`;
    if (p99 > WRITE_P99_MS_MAX)
      add(
        'latency',
        'warning',
        found,
        'give the members disks that sync faster, or put them nearer; see etcd_disk_wal_fsync_duration_seconds',
      );
    else add('latency', 'ok', found);
  }
  return findings;
}

type Add = (check: string, level: Finding['level'], found: string, next?: string) => void;

function judgeVersions(up: readonly MemberFacts[], add: Add): void {
  const versions = [...new Set(up.map((member) => member.version ?? 'unknown'))];
  const old = versions.filter((version) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    return major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]);
  });
  if (old.length > 0) add('version', 'failure', `etcd ${old.join(', ')}`, 'upgrade to 3.4 or later');
  else if (versions.length > 1)
    add('version', 'warning', `members run ${versions.join(' and ')}`, 'finish the upgrade');
  else add('version', 'ok', `etcd ${versions[0]}`);
}

/** Nothing is appended from a leader's death until the next one is elected: one to two election time-outs. */
function judgeElections(up: readonly MemberFacts[], facts: ClusterFacts, add: Add): void {
  const shown = up.flatMap(({ flags }) =>
    flags ? [Number(flags['election-timeout'] ?? ETCD_ELECTION_MS_DEFAULT)] : [],
  );
  if (shown.length === 0) return;
  const longestMs = Math.max(...shown);
  const found = `a dead leader is missed after ${longestMs} ms, up to twice that`;
  if (Math.min(...shown) !== longestMs)
    add(
      'election',
      'warning',
      `--election-timeout differs between members: ${shown.join(', ')} ms`,
      'give all members the same --heartbeat-interval and --election-timeout',
    );
  else if (longestMs > NEAR_ELECTION_MS && facts.writeMs && facts.writeMs.p50 <= NEAR_WRITE_P50_MS_MAX)
    add(
      'election',
      'warning',
      found,
      'members as near each other as these can be started with ' +
        `--heartbeat-interval ${NEAR_HEARTBEAT_MS} --election-timeout ${NEAR_ELECTION_MS}`,
    );
  else add('election', 'ok', found);
}

function judgeMember(member: MemberFacts, facts: ClusterFacts, add: Add): void {
  const { endpoint } = member;
  for (const alarm of member.alarms ?? [])
    add(
      'alarm',
      'failure',
      `${endpoint}: ${alarm}`,
      /NOSPACE/i.test(alarm)
        ? `etcdctl --endpoints ${endpoint} defrag, raise --quota-backend-bytes, then etcdctl alarm disarm`
        : 'etcdctl alarm list; a corrupt member must be replaced',
    );
  if (member.clockAheadMs !== undefined) {
    const off = Math.abs(member.clockAheadMs);
    if (off > CLOCK_MS_MAX)
      add(
        'clock',
        'warning',
        `${endpoint} is ${duration(off)} ${member.clockAheadMs > 0 ? 'ahead' : 'behind'}`,
        'run an NTP client on all machines (nothing is lost by it, but certificates and logs need it)',
      );
    else add('clock', 'ok', `${endpoint} within ${CLOCK_MS_MAX / 1_000} s of this machine`);
  }
  if (member.databaseBytes !== undefined) {
    const found = `${endpoint}: ${bytes(member.databaseBytes)} in use of ${bytes(facts.databaseBytesMax)}, file ${bytes(member.fileBytes ?? 0)}`;
    if (member.databaseBytes > facts.databaseBytesMax)
      add('size', 'failure', found, 'appends are refused: let snapshots and trims run, or add a cell');
    else if (member.databaseBytes > 0.8 * facts.databaseBytesMax)
      add(
        'size',
        'warning',
        found,
        'nodes take no new work for it: add a cell, or move shards to another one',
      );
    else add('size', 'ok', found);
  }
  if (member.quotaBytes !== undefined && member.quotaBytes < facts.databaseBytesMax)
    add(
      'quota',
      'warning',
      `${endpoint}: etcd's own quota is ${bytes(member.quotaBytes)}, below Skein's limit of ${bytes(facts.databaseBytesMax)}`,
      `start it with --quota-backend-bytes ${2 * 1024 ** 3} or more`,
    );
  if (!member.flags) {
    add(
      'compaction',
      'warning',
      `${endpoint} does not show its flags`,
      `make sure that it runs with --experimental-compaction-batch-limit ${COMPACTION_BATCH_LIMIT} (from 3.6 on: --compaction-batch-limit)`,
    );
    return;
  }
  const limit = Number(
    BATCH_FLAGS.map((flag) => member.flags![flag]).find((value) => value !== undefined) ?? 1_000,
  );
  const flag = /^3\.[0-5]\./.test(member.version ?? '') ? BATCH_FLAGS[1] : BATCH_FLAGS[0];
  if (limit < COMPACTION_BATCH_LIMIT)
    add(
      'compaction',
      'warning',
      `${endpoint}: its batch limit is ${limit}: under steady trims the database grows`,
      `start it with --${flag} ${COMPACTION_BATCH_LIMIT}`,
    );
  else add('compaction', 'ok', `${endpoint}: batch limit ${limit}`);
}

function remedyOfError(error: string, endpoint: string): string {
  if (/user name|authentication|auth token|permission/.test(error))
    return 'check --etcd-user and its password; the user needs readwrite on all keys below the root';
  if (/certificate|TLS|SSL|self.signed|issuer/i.test(error))
    return 'check --etcd-ca, --etcd-cert and --etcd-key, and the address: etcds:// where members speak TLS, else etcd://';
  return `check that etcd runs there and that this machine reaches it: etcdctl --endpoints ${endpoint} endpoint health`;
}

function duration3(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}

/** `--name value` and `--name=value` of a command line; a flag without value is `true`. */
export function flagsOf(commandLine: readonly string[]): Record<string, string> {
  const flags: Record<string, string> = {};
  for (let i = 1; i < commandLine.length; i++) {
    const match = /^--?([a-z0-9-]+)(?:=(.*))?$/.exec(commandLine[i]!);
    if (!match) continue;
    const next = commandLine[i + 1];
    if (match[2] !== undefined) flags[match[1]!] = match[2];
    else if (next !== undefined && !next.startsWith('--')) flags[match[1]!] = commandLine[++i]!;
    else flags[match[1]!] = 'true';
  }
  return flags;
}
