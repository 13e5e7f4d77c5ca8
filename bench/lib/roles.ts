/** Starts Skein's own roles as processes for a benchmark, and ends exactly those. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export interface Ready {
  role: string;
  address: string;
  httpAddress: string;
  processId: string;
}

export interface Role {
  ready: Ready;
  process: ChildProcess;
  /** User and system time of the process so far, seconds. */
  cpuSeconds(): number;
  rssBytes(): number;
}

export class Roles {
  readonly directory = mkdtempSync(join(tmpdir(), 'skein-bench-'));
  readonly #children: ChildProcess[] = [];

  async start(role: string, flags: string[], nodeFlags: string[] = []): Promise<Role> {
    const main = join(root, 'src/cli/main.ts');
    return this.#spawn(role, ['--conditions=skein-source', ...nodeFlags, main, role, ...flags]);
  }

  /** Any script that prints the same line as a role when it is ready. */
  startScript(path: string): Promise<Role> {
    return this.#spawn(path, [path]);
  }

  async #spawn(role: string, commandLine: string[]): Promise<Role> {
    const child = spawn(process.execPath, commandLine, {
      env: {
        ...process.env,
        SKEIN_CLUSTER_TOKEN: 'bench-token',
        SKEIN_LOG: process.env.SKEIN_LOG ?? 'error',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    const ready = await new Promise<Ready>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${role} ended with ${code} before it was ready`)));
      createInterface({ input: child.stdout! }).on('line', (line) => {
        if (line.startsWith('{"ready":true')) resolve(JSON.parse(line));
      });
    });
    const { pid } = child;
    return {
      ready,
      process: child,
      cpuSeconds() {
        const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
        return (Number(fields[11]) + Number(fields[12])) / 100;
      },
      rssBytes() {
        return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
      },
    };
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
