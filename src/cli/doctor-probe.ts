/** What `skein doctor` asks an etcd cluster: each member for itself, then the whole for a few hundred small writes. */
import { Agent } from 'undici';
import { sleep } from '../io/io.ts';
import { realIo } from '../io/real.ts';
import { type EtcdAddress, type EtcdCredentials, parseEtcdAddress } from '../store/etcd/access.ts';
import { EtcdClient } from '../store/etcd/client.ts';
import { get, nested, put, remove } from '../store/etcd/keys.ts';
import { ETCD_DATABASE_BYTES_MAX } from '../store/etcd/upkeep.ts';
import { StoreError } from '../store/store.ts';
import { MAX_TXN_OPS } from '../supervisor/etcd-cluster.ts';
import { type ClusterFacts, flagsOf, type MemberFacts } from './doctor-judge.ts';

const ANSWER_MS_MAX = 3_000;
const WRITES_DEFAULT = 200;
const ATTEMPTS_MAX = 3;
const RETRY_MS = 200;

const io = realIo({ logLevel: 'silent' });

/** Never rejects: what went wrong is among the facts. */
export async function probeCluster(
  name: string,
  address: string,
  credentials: EtcdCredentials | undefined,
  writes: number = WRITES_DEFAULT,
): Promise<ClusterFacts> {
  const parsed = parseEtcdAddress(address);
  const facts: ClusterFacts = {
    name,
    address,
    members: await Promise.all(
      parsed.endpoints.map((endpoint) => probeMember(parsed, endpoint, credentials)),
    ),
    databaseBytesMax: ETCD_DATABASE_BYTES_MAX,
  };
  const reachable = facts.members.filter(({ error }) => error === undefined).map(({ endpoint }) => endpoint);
  if (reachable.length === 0) return facts;
  const client = new EtcdClient({
    io,
    address: { ...parsed, endpoints: reachable },
    credentials,
    timeoutMs: ANSWER_MS_MAX,
  });
  try {
    facts.memberCount = await client.memberCount().catch(() => undefined);
    facts.largeTransactions = await takesLargeTransactions(client, parsed.root);
    facts.writeMs = await measureWrites(client, parsed.root, writes);
  } catch (error) {
    facts.writeError = (error as Error).message;
  } finally {
    client.close();
  }
  return facts;
}

async function probeMember(
  address: EtcdAddress,
  endpoint: string,
  credentials: EtcdCredentials | undefined,
): Promise<MemberFacts> {
  const facts: MemberFacts = { endpoint };
  const client = new EtcdClient({
    io,
    address: { ...address, endpoints: [endpoint] },
    credentials,
    timeoutMs: ANSWER_MS_MAX,
  });
  try {
    // Any answer to a reading counts; the status alone would not show a wrong password.
    const key = Buffer.from(`${address.root}/u/doctor`);
    await patiently(() => client.range({ key, serializable: true }));
    const status = await client.status();
    const more = status as typeof status & { dbSizeInUse?: string; errors?: string[] };
    facts.version = status.version;
    facts.memberId = status.header.member_id;
    facts.clusterId = status.header.cluster_id;
    facts.leaderId = status.leader;
    facts.fileBytes = Number(status.dbSize);
    facts.databaseBytes = Number(more.dbSizeInUse ?? status.dbSize);
    facts.alarms = more.errors ?? [];
  } catch (error) {
    facts.error = (error as Error).message;
    return facts;
  } finally {
    client.close();
  }
  await probeHttp(facts, address.tls, endpoint, credentials);
  return facts;
}

/**
 * The first call of a user waits for the password's hash, which a busy member may take a second for. The first error
 * says why; those of later attempts only that there still is no connection.
 */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  let first: unknown;
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      first ??= error;
      const passing = error instanceof StoreError && error.code === 'unavailable';
      if (!passing || attempt >= ATTEMPTS_MAX) throw passing ? first : error;
      await sleep(io.clock, RETRY_MS);
    }
  }
}

/** Clock, quota and flags come by HTTP, on the same port; a member that hides them is no failure. */
async function probeHttp(
  facts: MemberFacts,
  tls: boolean,
  endpoint: string,
  credentials: EtcdCredentials = {},
): Promise<void> {
  const dispatcher = new Agent({
    connect: tls
      ? { ca: credentials.caCertificate, cert: credentials.clientCertificate, key: credentials.clientKey }
      : {},
  });
  const fetchText = async (path: string) => {
    const sentMs = io.clock.realtimeMs();

    const answer = await dispatcher.request({
      origin: `${tls ? 'https' : 'http'}://${endpoint}`,
      path,
      method: 'GET',
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    const text = await answer.body.text();
    const middleMs = (sentMs + io.clock.realtimeMs()) / 2;
    return { status: answer.statusCode, text, date: answer.headers.date, middleMs };
  };
  try {
    const version = await fetchText('/version');
    // The header has whole seconds: half a one is the best guess.
    if (typeof version.date === 'string')
      facts.clockAheadMs = Date.parse(version.date) + 500 - version.middleMs;
    const metrics = await fetchText('/metrics');
    const quota = /^etcd_server_quota_backend_bytes (\S+)$/m.exec(metrics.text);
    if (quota) facts.quotaBytes = Number(quota[1]);
    const variables = await fetchText('/debug/vars');
    if (variables.status === 200) {
      const { cmdline } = JSON.parse(variables.text) as { cmdline?: string[] };
      if (cmdline) facts.flags = flagsOf(cmdline);
    }
  } catch {
    // What is not known is said so.
  } finally {
    await dispatcher.close();
  }
}

async function takesLargeTransactions(client: EtcdClient, root: string): Promise<boolean> {
  const key = Buffer.from(`${root}/u/doctor`);
  try {
    await client.txn({ success: Array.from({ length: MAX_TXN_OPS }, () => get(key)) });
    return true;
  } catch (error) {
    if (/too many operations/.test((error as Error).message)) return false;
    throw error;
  }
}

/** One after the other: the time of each is a round trip and a sync of a majority. */
async function measureWrites(
  client: EtcdClient,
  root: string,
  count: number,
): Promise<ClusterFacts['writeMs']> {
  const key = Buffer.from(`${root}/u/doctor`);
  const tookMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const startMs = io.clock.monotonicMs();
    await client.txn({ success: [nested([], [put(key, String(i))])] });
    tookMs.push(io.clock.monotonicMs() - startMs);
  }
  await client.txn({ success: [remove(key)] });
  tookMs.sort((a, b) => a - b);
  const at = (q: number) => tookMs[Math.min(count - 1, Math.floor(q * count))]!;
  return { p50: at(0.5), p99: at(0.99), count };
}
