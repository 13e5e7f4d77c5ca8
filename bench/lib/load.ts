/** A small open-loop load over HTTP: requests leave on schedule whether or not earlier ones have come back. */
import { Pool } from 'undici';

export interface Sent {
  key: string;
  sentMs: number;
  tookMs: number;
  status: number;
  servedBy: string | undefined;
}

export interface Load {
  sent: Sent[];
  /** Resolves when all requests under way have come back. */
  stop(): Promise<void>;
}

/** Sends `POST /counter/<key>/add` with body 1 to `url`, keys in turn, `ratePerSecond` of them. No retries. */
export function startLoad(
  url: string,
  options: { ratePerSecond: number; keys: number; prefix?: string },
): Load {
  const pool = new Pool(url, { connections: 128, pipelining: 1, headersTimeout: 30_000 });
  const sent: Sent[] = [];
  const underWay = new Set<Promise<void>>();
  const startMs = performance.now();
  let count = 0;
  const one = async (key: string) => {
    const sentMs = performance.now();
    let status = 0;
    let servedBy: string | undefined;
    try {
      const reply = await pool.request({
        method: 'POST',
        path: `/counter/${key}/add`,
        body: '1',
        headers: { 'content-type': 'application/json' },
      });
      status = reply.statusCode;
      servedBy = reply.headers['skein-served-by'] as string | undefined;
      await reply.body.dump();
    } catch {
      status = 0;
    }
    sent.push({ key, sentMs, tookMs: performance.now() - sentMs, status, servedBy });
  };
  const timer = setInterval(() => {
    const due = ((performance.now() - startMs) / 1000) * options.ratePerSecond;
    for (; count < due; count++) {
      const request = one(`${options.prefix ?? 'k'}${count % options.keys}`).finally(() =>
        underWay.delete(request),
      );
      underWay.add(request);
    }
  }, 2);
  return {
    sent,
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      await pool.close();
    },
  };
}

export function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
