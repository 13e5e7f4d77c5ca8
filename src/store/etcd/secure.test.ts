/** TLS with client certificates, and users with passwords, against members that insist on both. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Etcd3, Range } from 'etcd3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import { examine } from '../../cli/doctor.ts';
import { collect } from '../control-conformance.ts';
import type { EtcdCredentials } from './access.ts';
import { EtcdCellStore } from './cell-store.ts';
import { EtcdControlStore } from './control-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'skein-pki-'));
const file = (name: string) => join(directory, name);
const pem = (name: string) => readFileSync(file(name), 'utf8');
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });

/** An authority of ours, and certificates by it, as an operator makes them. */
function authority(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}-key.pem`,
    '-out',
    `${name}.pem`,
  );
}
function certificate(by: string, name: string): void {
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}-key.pem`,
    '-out',
    `${name}.csr`,
  );
  writeFileSync(file(`${name}.ext`), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  openssl(
    'x509',
    '-req',
    '-days',
    '2',
    '-in',
    `${name}.csr`,
    '-CA',
    `${by}.pem`,
    '-CAkey',
    `${by}-key.pem`,
    '-CAcreateserial',
    '-extfile',
    `${name}.ext`,
    '-out',
    `${name}.pem`,
  );
}

let etcd: TestEtcd;
let credentials: EtcdCredentials;
beforeAll(async () => {
  authority('ca');
  authority('stranger');
  certificate('ca', 'server');
  certificate('ca', 'node');
  certificate('stranger', 'intruder');
  etcd = await startEtcd({
    tls: {
      caFile: file('ca.pem'),
      certificateFile: file('server.pem'),
      keyFile: file('server-key.pem'),
      clientCertificates: true,
    },
  });
  credentials = {
    caCertificate: pem('ca.pem'),
    clientCertificate: pem('node.pem'),
    clientKey: pem('node-key.pem'),
    user: 'skein',
    password: 'a secret',
  };
  const admin = new Etcd3({
    hosts: `https://${etcd.cluster.members[0]!.endpoint}`,
    credentials: {
      rootCertificate: Buffer.from(credentials.caCertificate!),
      certChain: Buffer.from(credentials.clientCertificate!),
      privateKey: Buffer.from(credentials.clientKey!),
    },
  });
  await admin.auth.userAdd({ name: 'root', password: 'root' });
  await admin.auth.roleAdd({ name: 'root' });
  await admin.auth.userGrantRole({ user: 'root', role: 'root' });
  // Nothing beyond Skein's own keys.
  await admin.role('skein').create();
  await admin.role('skein').grant({ permission: 'Readwrite', range: Range.prefix('skein/') });
  await admin.auth.userAdd({ name: 'skein', password: credentials.password! });
  await admin.auth.userGrantRole({ user: 'skein', role: 'skein' });
  await admin.auth.authEnable();
  admin.close();
});
afterAll(async () => {
  await etcd?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const control = (given: EtcdCredentials) =>
  new EtcdControlStore({
    io: etcdIo,
    client: etcd.client(undefined, { credentials: given }),
    upkeep: false,
  });

describe('etcd with certificates and users', () => {
  it('serves both stores: keys, leases, watches, logs, compaction', async () => {
    const store = control(credentials);
    const cell = new EtcdCellStore({
      io: etcdIo,
      client: etcd.client(undefined, { credentials }),
      cell: 'cell-a',
      upkeep: { lookEveryMs: 20, compactEveryMs: 40 },
    });
    try {
      await store.grantLease('l', 60_000);
      const { revision } = await store.transact({
        compare: [],
        operations: [{ put: 'a', value: '1', lease: 'l' }],
      });
      await store.keepAlive('l');
      const seen = collect(store, ['a'], revision);
      await store.revokeLease('l');
      await seen.until((events) => events.length === 1);
      seen.close();
      await cell.open('room/a', 1);
      const delta = Buffer.from('delta');
      expect(await cell.append([{ shard: 'room/a', epoch: 1, seq: 1, id: 'p.1', delta }])).toEqual([
        { ok: true },
      ]);
      while (cell.pressure() === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    } finally {
      store.close();
      cell.close();
    }
  });

  it.each([
    ['a wrong password', () => ({ ...credentials, password: 'guess' }), 'unauthorized'],
    ['a user that is not there', () => ({ ...credentials, user: 'nobody' }), 'unauthorized'],
    ['no user', () => ({ ...credentials, user: undefined, password: undefined }), 'unauthorized'],
    [
      'no certificate',
      () => ({ ...credentials, clientCertificate: undefined, clientKey: undefined }),
      'unavailable',
    ],
    [
      'a certificate of another authority',
      () => ({ ...credentials, clientCertificate: pem('intruder.pem'), clientKey: pem('intruder-key.pem') }),
      'unavailable',
    ],
    [
      'an authority that did not sign the server',
      () => ({ ...credentials, caCertificate: pem('stranger.pem') }),
      'unavailable',
    ],
  ] as const)('refuses %s', async (_name, given, code) => {
    const store = control(given());
    await expect(store.get('a')).rejects.toMatchObject({ name: 'StoreError', code });
    store.close();
  });

  it('is looked at by `skein doctor` with the same, which says what is wrong with them', {
    timeout: 60_000,
  }, async () => {
    writeFileSync(file('password'), 'a secret\n');
    writeFileSync(file('guess'), 'guess\n');
    const flags = {
      control: etcd.cluster.address('skein'),
      etcdCa: file('ca.pem'),
      etcdCert: file('node.pem'),
      etcdKey: file('node-key.pem'),
      etcdUser: 'skein',
      etcdPasswordFile: file('password'),
    };
    // A machine too busy for an answer in time is no finding here: asked again.
    const look = async (changed: Partial<typeof flags>) => {
      for (;;) {
        const report = await examine({ ...flags, ...changed }, 5, () => {});
        if (!report.findings.some(({ found }) => /no sign of life|Deadline exceeded/.test(found)))
          return report;
      }
    };
    const { findings } = await look({});
    expect(findings.filter(({ level }) => level === 'failure')).toEqual([]);
    // What comes by HTTP comes with the certificate as well.
    for (const check of ['version', 'clock', 'compaction', 'latency'])
      expect(findings.map((one) => one.check)).toContain(check);
    const failure = async (changed: Partial<typeof flags>) =>
      (await look(changed)).findings.find(({ level }) => level === 'failure');
    expect((await failure({ etcdPasswordFile: file('guess') }))!.next).toMatch(
      /--etcd-user and its password/,
    );
    expect((await failure({ etcdCa: file('stranger.pem') }))!.next).toMatch(/--etcd-ca, --etcd-cert/);
    const intruder = { etcdCert: file('intruder.pem'), etcdKey: file('intruder-key.pem') };
    expect((await failure(intruder))!.next).toMatch(/--etcd-ca, --etcd-cert/);
    expect((await failure({ control: etcd.cluster.address('beyond') }))!.next).toMatch(/below the root/);
  });

  it('refuses keys beyond the root that the user may use', async () => {
    const store = new EtcdControlStore({
      io: etcdIo,
      client: etcd.client('other', { credentials }),
      upkeep: false,
    });
    const refusal = async (): Promise<unknown> => {
      const error = await store.get('a').catch((reason) => reason);
      // Nobody was asked: the machine is busy.
      return error?.code === 'unavailable' ? refusal() : error;
    };
    expect(await refusal()).toMatchObject({ code: 'unauthorized' });
    store.close();
  });
});
