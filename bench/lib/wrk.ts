/** One run of wrk (Debian's package): 64 connections, one thread, `POST /counter/k%d/add` with body 1. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface WrkResult {
  requestsPerSecond: number;
  errors: number;
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
  requests: number;
}

const script = join(dirname(fileURLToPath(import.meta.url)), 'keys.lua');

export function wrk(
  url: string,
  options: { seconds: number; connections?: number; keys?: number },
): Promise<WrkResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'wrk',
      [
        '-t1',
        `-c${options.connections ?? 64}`,
        `-d${options.seconds}s`,
        '--latency',
        '--timeout',
        '10s',
        '-s',
        script,
        url,
      ],
      { env: { ...process.env, KEYS: String(options.keys ?? 1000) }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.on('error', (error) =>
      reject(new Error(`wrk did not start (apt-get install wrk): ${error.message}`)),
    );
    child.on('exit', () => {
      const match = /RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+)/.exec(out);
      if (!match) return reject(new Error(`wrk gave no result:\n${out}`));
      const [requests, durationMicros, errors, p50Ms, p99Ms, p999Ms, maxMs] = match.slice(1).map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      resolve({
        requestsPerSecond: requests / (durationMicros / 1e6),
        errors,
        p50Ms,
        p99Ms,
        p999Ms,
        maxMs,
        requests,
      });
    });
  });
}
