/** The operating system as an {@link Io}: the only implementation that production uses. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import pino from 'pino';
import { CpuSegments, threadCpuMicros } from './cpu-segments.ts';
import { FetchHttpClient } from './http-client.ts';
import type { Clock, Disk, Io, Log, Network } from './io.ts';
import { SeededRandom } from './random.ts';
import { TcpNetwork } from './tcp-network.ts';
import { defer } from './turn.ts';

export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  realtimeMs: () => Date.now(),
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, Math.max(0, Math.min(delayMs, 2_147_483_647)));
    return () => clearTimeout(timer);
  },
  defer,
};

const realDisk: Disk = {
  async read(path) {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  async write(path, bytes) {
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}.tmp`;
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  },
};

export interface RealIoOptions {
  /** What every log line says of this process, such as its role and name. */
  log?: object;
  /** `silent` to `debug`; the environment variable SKEIN_LOG where absent, `info` without it. */
  logLevel?: string;
  /** Absent: seeded from the operating system's randomness. */
  seed?: string;
  /** Absent: plain TCP. */
  network?: Network;
}

export function realIo(options: RealIoOptions = {}): Io {
  const level = options.logLevel ?? process.env.SKEIN_LOG ?? 'info';
  return {
    clock: realClock,
    random: new SeededRandom(options.seed ?? randomBytes(16).toString('hex')),
    network: options.network ?? new TcpNetwork(),
    disk: realDisk,
    http: new FetchHttpClient(),
    log: pino(
      { level, base: options.log ?? {} },
      pino.destination({ dest: 2, sync: true }),
    ) as unknown as Log,
    threadCpuMicros,
    cpu: new CpuSegments({ monotonicMs: realClock.monotonicMs, threadCpuMicros }),
    processCpuMicros() {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    loopBusyMs: () => performance.eventLoopUtilization().active,
  };
}
