/**
 * `skein doctor`: looks at every store of a distributed cluster and says what to type. It writes one small key below
 * the root, `u/doctor`, some hundred times, and removes it.
 */
import type { Command } from 'commander';
import { isEtcdAddress } from '../store/etcd/access.ts';
import { type Finding, judgeCluster } from './doctor-judge.ts';
import { probeCluster } from './doctor-probe.ts';
import { CliError, EXIT } from './errors.ts';
import { wholeNumber } from './numbers.ts';
import { chooseStores, type StoreFlags, storeOptions } from './stores.ts';

/** What `--json` prints; docs/cli.md describes it. */
export interface DoctorReport {
  /** False where anything failed; warnings do not count. */
  ok: boolean;
  findings: Finding[];
}

export function addDoctorCommand(program: Command): void {
  storeOptions(program.command('doctor'))
    .description('check the stores of a distributed cluster: members, versions, settings, clocks, latency')
    .option('--control <address>', 'a single etcd cluster to check: etcd://host:2379,...')
    .option('--writes <count>', 'small writes that latency is measured by', wholeNumber(1, 100_000), 200)
    .option('--json', 'print the findings as JSON')
    .action(async (flags: StoreFlags & { writes: number; json?: boolean }) => {
      const report = await examine(flags, flags.writes, (name) => {
        if (!flags.json) process.stderr.write(`looking at ${name} ...\n`);
      });
      process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
      if (!report.ok) process.exitCode = EXIT.failed;
    });
}

export async function examine(
  flags: StoreFlags,
  writes: number,
  onProgress: (name: string) => void,
): Promise<DoctorReport> {
  const { controlAddress, cells, etcd } = await chooseStores(flags);
  if (!isEtcdAddress(controlAddress))
    throw new CliError(`${controlAddress} is a store process, and doctor looks at etcd`, {
      next: 'give --stores <file> or --control etcd://host:2379; `skein status` shows a cluster of store processes',
      exitCode: EXIT.usage,
    });
  const findings: Finding[] = [];
  const stores: [string, string][] = [['control', controlAddress]];
  for (const [id, { address }] of Object.entries(cells)) stores.push([id, address]);
  const seen = new Map<string, string>();
  for (const [name, address] of stores) {
    const hosts = address.replace(/\/[^/]*$/, '');
    const same = seen.get(hosts);
    if (same === 'control')
      findings.push({
        store: name,
        check: 'apart',
        level: 'warning',
        found: 'this cell is on the cluster of the control store: a busy log can starve leases',
        next: 'give control an etcd cluster of its own',
      });
    seen.set(hosts, same ?? name);
    onProgress(`${name} at ${address}`);
    findings.push(...judgeCluster(await probeCluster(name, address, etcd, writes)));
  }
  return { ok: findings.every(({ level }) => level !== 'failure'), findings };
}

const SIGNS = { ok: 'ok     ', warning: 'WARNING', failure: 'FAILURE' } as const;

export function formatReport({ findings }: DoctorReport): string {
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  const lines = findings.map(({ store, check, level, found, next }) => {
    const line = `${SIGNS[level]}  ${store}  ${check}: ${found}\n`;
    return next === undefined ? line : `${line}         next: ${next}\n`;
  });
  const some = (level: Finding['level'], one: string) =>
    `${count(level)} ${one}${count(level) === 1 ? '' : 's'}`;
  return `${lines.join('')}${some('failure', 'failure')}, ${some('warning', 'warning')}, ${some('ok', 'check')} passed\n`;
}
