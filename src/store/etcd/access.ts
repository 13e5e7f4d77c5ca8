/**
 * Where an etcd cluster is and how one proves oneself to it.
 *
 * An address is one text, so that it fits wherever a store process's `host:port` does (a flag, a cell's record):
 * `etcd://host:2379,host2:2379/root` or, over TLS, `etcds://...`. The root, `skein` by default, keeps clusters that
 * share an etcd apart. Certificates and passwords are never part of it: each process has its own.
 */
import { StoreError } from '../store.ts';

export interface EtcdAddress {
  /** `host:port` each. */
  endpoints: string[];
  tls: boolean;
  /** First part of every key. */
  root: string;
}

/** What a process shows to etcd. PEM texts; all optional. */
export interface EtcdCredentials {
  /** Whom to trust; the system's authorities where absent. */
  caCertificate?: string;
  clientCertificate?: string;
  clientKey?: string;
  user?: string;
  password?: string;
}

export const ROOT_DEFAULT = 'skein';
const PORT_DEFAULT = 2379;
const ENDPOINTS_MAX = 32;

export function isEtcdAddress(address: string): boolean {
  return /^etcds?:\/\//.test(address);
}

/**
 * @throws StoreError `invalid`
 * @example
 * parseEtcdAddress('etcd://10.0.0.1,10.0.0.2:2379/prod'); // two endpoints, both with port 2379
 */
export function parseEtcdAddress(address: string): EtcdAddress {
  const match = /^(etcds?):\/\/([^/?#]+)(?:\/([^?#]*))?$/.exec(address);
  const wrong = (why: string) =>
    new StoreError(
      'invalid',
      `${JSON.stringify(address)} is not an address of etcd: ${why}; write etcd://host:2379,host:2379/root`,
    );
  if (!match) throw wrong('it needs etcd:// or etcds://, then hosts');
  const endpoints = match[2]!.split(',').map((endpoint) => withPort(endpoint.trim()));
  if (endpoints.length > ENDPOINTS_MAX) throw wrong(`over ${ENDPOINTS_MAX} endpoints`);
  for (const endpoint of endpoints) {
    const port = Number(/:(\d+)$/.exec(endpoint)?.[1]);
    if (!/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):\d+$/.test(endpoint) || !(port > 0 && port < 65_536))
      throw wrong(`${JSON.stringify(endpoint)} is no host and port`);
  }
  if (new Set(endpoints).size !== endpoints.length) throw wrong('an endpoint stands twice');
  const root = (match[3] ?? '').replace(/\/+$/, '') || ROOT_DEFAULT;
  if (!/^[A-Za-z0-9_.:/-]+$/.test(root)) throw wrong(`${JSON.stringify(root)} is no root for keys`);
  return { endpoints, tls: match[1] === 'etcds', root };
}

export function formatEtcdAddress({ endpoints, tls, root }: EtcdAddress): string {
  return `${tls ? 'etcds' : 'etcd'}://${endpoints.join(',')}/${root}`;
}

function withPort(endpoint: string): string {
  return /:\d+$/.test(endpoint) ? endpoint : `${endpoint}:${PORT_DEFAULT}`;
}
