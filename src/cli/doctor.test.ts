import { describe, expect, it } from 'vitest';
import { startEtcd } from '../../test/integration/support/etcd.ts';
import { examine, formatReport } from './doctor.ts';
import { type ClusterFacts, type Finding, flagsOf, judgeCluster, type MemberFacts } from './doctor-judge.ts';

const member = (i: number, changes: Partial<MemberFacts> = {}): MemberFacts => ({
  endpoint: `h${i}:2379`,
  version: '3.5.9',
  memberId: String(i),
  clusterId: '7',
  leaderId: '1',
  databaseBytes: 1e6,
  fileBytes: 2e6,
  alarms: [],
  clockAheadMs: 200,
  quotaBytes: 4e9,
  flags: { 'experimental-compaction-batch-limit': '20000', 'election-timeout': '500' },
  ...changes,
});
const healthy: ClusterFacts = {
  name: 'control',
  address: 'etcd://h1,h2,h3',
  members: [member(1), member(2), member(3)],
  memberCount: 3,
  largeTransactions: true,
  writeMs: { p50: 2, p99: 9, count: 200 },
  databaseBytesMax: 1.5e9,
};
const judged = (changes: Partial<ClusterFacts>, check: string): Finding | undefined =>
  judgeCluster({ ...healthy, ...changes }).find(
    (finding) => finding.check === check && finding.level !== 'ok',
  );

describe('skein doctor', () => {
  it('finds nothing wrong with a healthy cluster, and says what it looked at', () => {
    const findings = judgeCluster(healthy);
    expect(findings.every(({ level }) => level === 'ok')).toBe(true);
    expect(new Set(findings.map(({ check }) => check))).toEqual(
      new Set([
        'endpoints',
        'leader',
        'members',
        'version',
        'clock',
        'size',
        'compaction',
        'election',
        '--max-txn-ops',
        'latency',
      ]),
    );
  });

  it.each<[string, Partial<ClusterFacts>, string, Finding['level'], RegExp]>([
    [
      'a member that is away',
      { members: [member(1), member(2), { endpoint: 'h3:2379', error: 'ECONNREFUSED' }] },
      'endpoint',
      'failure',
      /etcdctl --endpoints h3:2379 endpoint health/,
    ],
    [
      'two leaders',
      { members: [member(1), member(2, { leaderId: '2' }), member(3)] },
      'leader',
      'failure',
      /logs/,
    ],
    ['no leader', { members: [member(1, { leaderId: '0' })] }, 'leader', 'failure', /more than half/],
    [
      'endpoints of two clusters',
      { members: [member(1), member(2, { clusterId: '8' })] },
      'cluster',
      'failure',
      /correct the address/,
    ],
    ['a single member', { members: [member(1)], memberCount: 1 }, 'members', 'warning', /three/],
    ['an even number', { memberCount: 4 }, 'members', 'warning', /add or remove/],
    ['members that the address leaves out', { memberCount: 5 }, 'address', 'warning', /name all/],
    ['an old version', { members: [member(1, { version: '3.3.10' })] }, 'version', 'failure', /upgrade/],
    [
      'two versions',
      { members: [member(1), member(2, { version: '3.6.1' })] },
      'version',
      'warning',
      /finish/,
    ],
    ['a clock that is off', { members: [member(1, { clockAheadMs: -9_000 })] }, 'clock', 'warning', /NTP/],
    [
      'an alarm',
      { members: [member(1, { alarms: ['memberID:1 alarm:NOSPACE'] })] },
      'alarm',
      'failure',
      /alarm disarm/,
    ],
    [
      'a database that is full',
      { members: [member(1, { databaseBytes: 1.6e9 })] },
      'size',
      'failure',
      /refused/,
    ],
    [
      'a database that is nearly full',
      { members: [member(1, { databaseBytes: 1.3e9 })] },
      'size',
      'warning',
      /add a cell/,
    ],
    [
      'a small quota',
      { members: [member(1, { quotaBytes: 1e9 })] },
      'quota',
      'warning',
      /--quota-backend-bytes 2147483648/,
    ],
    [
      'the default batch limit of compaction',
      { members: [member(1, { flags: {} })] },
      'compaction',
      'warning',
      /--experimental-compaction-batch-limit 20000/,
    ],
    [
      'the same in 3.6',
      { members: [member(1, { flags: {}, version: '3.6.0' })] },
      'compaction',
      'warning',
      /--compaction-batch-limit 20000/,
    ],
    [
      'flags that are not shown',
      { members: [member(1, { flags: undefined })] },
      'compaction',
      'warning',
      /make sure/,
    ],
    [
      'few operations a transaction',
      { largeTransactions: false },
      '--max-txn-ops',
      'warning',
      /--max-txn-ops 20000/,
    ],
    [
      'slow elections of members that are near each other',
      { members: [1, 2, 3].map((i) => member(i, { flags: {} })) },
      'election',
      'warning',
      /--heartbeat-interval 50 --election-timeout 500/,
    ],
    [
      'elections that differ',
      { members: [member(1), member(2), member(3, { flags: { 'election-timeout': '1000' } })] },
      'election',
      'warning',
      /the same/,
    ],
    ['slow disks', { writeMs: { p50: 80, p99: 300, count: 200 } }, 'latency', 'warning', /disks/],
    ['a user without rights', { writeError: 'etcd: permission denied' }, 'write', 'failure', /--etcd-user/],
  ])('says what to do about %s', (_name, changes, check, level, next) => {
    const finding = judged(changes, check);
    expect(finding).toMatchObject({ level });
    expect(finding!.next).toMatch(next);
  });

  it('leaves the elections of members that are far from each other as they are', () => {
    const members = [1, 2, 3].map((i) => member(i, { flags: { 'election-timeout': '2000' } }));
    expect(judged({ members, writeMs: { p50: 40, p99: 60, count: 200 } }, 'election')).toBeUndefined();
  });

  it('reads flags as etcd does', () => {
    expect(flagsOf(['etcd', '--a', '1', '--b=2', '-c', '--d-e', 'x'])).toEqual({
      a: '1',
      b: '2',
      c: 'true',
      'd-e': 'x',
    });
  });

  it('looks at a real member: settings that fall short, then ones that do', async () => {
    const short = await startEtcd({ maxTxnOps: 128, compactionBatchLimit: 1_000 });
    const good = await startEtcd();
    try {
      const found = async (control: string) => {
        const report = await examine({ control }, 20, () => {});
        expect(report.ok).toBe(true);
        expect(formatReport(report)).toMatch(/\n0 failures, /);
        const warned = report.findings.filter(({ level }) => level === 'warning').map(({ check }) => check);
        const latency = report.findings.find(({ check }) => check === 'latency');
        expect(latency!.found).toMatch(/p50 .* p99 .* of 20 writes/);
        return new Set(warned.filter((check) => check !== 'latency'));
      };
      expect(await found(short.cluster.address())).toEqual(
        new Set(['members', 'compaction', '--max-txn-ops']),
      );
      expect(await found(good.cluster.address())).toEqual(new Set(['members']));
    } finally {
      await short.stop();
      await good.stop();
    }
  });

  it('finds nobody where nothing runs, and fails', async () => {
    const report = await examine({ control: 'etcd://127.0.0.1:9' }, 1, () => {});
    expect(report.ok).toBe(false);
    expect(report.findings).toMatchObject([{ check: 'endpoint', level: 'failure' }]);
  });
});
