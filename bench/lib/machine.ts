/** What every figure must say of the machine it was taken on. */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';

export interface MachineFacts {
  cores: number;
  cpu: string;
  memoryGiB: number;
  node: string;
  /** Median of 200 writes of 4 KiB with fdatasync, milliseconds: the floor of a durable write alone. */
  fdatasyncMsP50: number;
  loadAverage: number;
  date: string;
}

export function machineFacts(): MachineFacts {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    fdatasyncMsP50: measureFdatasync(),
    loadAverage: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
    date: new Date().toISOString().slice(0, 10),
  };
}

export function formatMachine(facts: MachineFacts): string {
  return `${facts.cores} cores (${facts.cpu}), ${facts.memoryGiB} GiB, Node ${facts.node}, fdatasync p50 ${facts.fdatasyncMsP50.toFixed(2)} ms, load ${facts.loadAverage}, ${facts.date}`;
}

function measureFdatasync(): number {
  const directory = mkdtempSync(join(tmpdir(), 'skein-fdatasync-'));
  const file = openSync(join(directory, 'f'), 'w');
  const block = Buffer.alloc(4096, 1);
  const tookMs: number[] = [];
  for (let i = 0; i < 200; i++) {
    const startMs = performance.now();
    writeSync(file, block, 0, block.length, i * block.length);
    fdatasyncSync(file);
    tookMs.push(performance.now() - startMs);
  }
  closeSync(file);
  rmSync(directory, { recursive: true });
  return tookMs.sort((a, b) => a - b)[100]!;
}
