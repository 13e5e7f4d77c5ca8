/** `--store etcd` and its companions: which stores a process uses, from flags or from one file for all of them. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { CellId } from '../model/ids.ts';
import type { CellRecord } from '../model/records.ts';
import { type EtcdCredentials, isEtcdAddress } from '../store/etcd/access.ts';
import type { StoresConfig } from '../store/etcd/stores.ts';
import { CliError, EXIT } from './errors.ts';

export interface StoreFlags {
  store?: 'process' | 'etcd';
  stores?: string;
  control?: string;
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
  etcdUser?: string;
  etcdPasswordFile?: string;
}

/** What the flags come to. */
export interface ChosenStores {
  controlAddress: string;
  cells: Record<CellId, CellRecord>;
  etcd: EtcdCredentials | undefined;
}

export function storeOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--store <kind>',
        'what the stores are: processes of `skein store`, or etcd clusters',
      ).choices(['process', 'etcd']),
    )
    .option('--stores <file>', 'file that names control store, cells and credentials (docs/operations.md)')
    .option('--etcd-ca <file>', 'authority that etcd\u2019s certificates are checked by')
    .option('--etcd-cert <file>', 'certificate shown to etcd')
    .option('--etcd-key <file>', 'its key')
    .option('--etcd-user <name>', 'user of etcd; the password comes from a file or SKEIN_ETCD_PASSWORD')
    .option('--etcd-password-file <file>', 'file with the password of the user');
}

/** @throws CliError where the flags contradict each other, or a file cannot be read. */
export async function chooseStores(flags: StoreFlags): Promise<ChosenStores> {
  const config = flags.stores === undefined ? undefined : await readStores(flags.stores);
  const controlAddress = flags.control ?? config?.control;
  if (controlAddress === undefined)
    throw new CliError('the control store is not named', {
      next: 'add --control <address>, or --stores <file> that names it',
      exitCode: EXIT.usage,
    });
  const isEtcd = isEtcdAddress(controlAddress);
  if (flags.store !== undefined && (flags.store === 'etcd') !== isEtcd)
    throw new CliError(`--store ${flags.store} does not go with ${controlAddress}`, {
      why: 'addresses of etcd begin with etcd:// or, over TLS, etcds://',
      next: isEtcd ? 'leave --store away, or write --store etcd' : 'write --control etcd://host:2379',
      exitCode: EXIT.usage,
    });
  return {
    controlAddress,
    cells: config?.cells ?? {},
    etcd: isEtcd || config ? credentials(flags, config) : undefined,
  };
}

async function readStores(file: string): Promise<StoresConfig> {
  const { parseStores } = await import('../store/etcd/stores.ts');
  return parseStores(readText(file, 'the file of stores'), file);
}

/** Flags win over the file, whose paths start at its own folder. */
function credentials(flags: StoreFlags, config: StoresConfig | undefined): EtcdCredentials {
  const from = config?.credentials;
  const folder = dirname(resolve(flags.stores ?? '.'));
  const pem = (flag: string | undefined, path: string | undefined, what: string) => {
    const file = flag ?? (path === undefined ? undefined : resolve(folder, path));
    return file === undefined ? undefined : readText(file, what);
  };
  const password = pem(flags.etcdPasswordFile, from?.passwordFile, 'the password of etcd')?.trimEnd();
  const found: EtcdCredentials = {
    caCertificate: pem(flags.etcdCa, from?.ca, 'the authority of etcd'),
    clientCertificate: pem(flags.etcdCert, from?.certificate, 'the certificate for etcd'),
    clientKey: pem(flags.etcdKey, from?.key, 'the key for etcd'),
    user: flags.etcdUser ?? from?.user,
    password: password ?? process.env.SKEIN_ETCD_PASSWORD,
  };
  if ((found.clientCertificate === undefined) !== (found.clientKey === undefined))
    throw new CliError('a certificate for etcd needs its key, and the other way round', {
      next: 'give both --etcd-cert and --etcd-key, or both in the file of stores',
      exitCode: EXIT.usage,
    });
  if (found.user !== undefined && found.password === undefined)
    throw new CliError(`the password of etcd\u2019s user ${found.user} is missing`, {
      next: 'set SKEIN_ETCD_PASSWORD, or give --etcd-password-file',
      exitCode: EXIT.usage,
    });
  return found;
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CliError(`${what}, ${file}, cannot be read`, { why: (cause as Error).message, cause });
  }
}
