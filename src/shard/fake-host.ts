/**
 * A host for tests: a log in memory whose durability comes when the test says so, virtual clocks, and a lease that can
 * be taken away.
 */
import type { HttpAnswer, HttpClient, HttpSend } from '../io/io.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { LogEntry } from '../store/store.ts';
import type { ShardHost, ShardReplica } from './contract.ts';

export class FakeHost implements ShardHost {
  /** In order of seq; what a store would hold once it is durable. */
  readonly log: LogEntry[] = [];
  replica: ShardReplica | undefined;
  nowMs = 1_000;
  cpuMicros = 0;
  /** Answer of `mayAnswer`. */
  lease: true | Promise<boolean> = true;
  admits = true;
  /** Makes every delta durable at once. */
  isEager = false;
  deferred: (() => void)[] = [];
  timers: { atMs: number; fire: () => void }[] = [];
  entered: string[] = [];
  inHandler = false;

  monotonicMs(): number {
    return this.nowMs;
  }
  realtimeMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }
  setTimer(delayMs: number, fire: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, fire };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }
  defer(run: () => void): void {
    this.deferred.push(run);
  }
  threadCpuMicros(): number {
    return this.cpuMicros;
  }
  random(): number {
    return 0.5;
  }
  append(seq: number, delta: Uint8Array): void {
    const last = this.log.at(-1)?.seq;
    if (last !== undefined && seq !== last + 1) throw new Error(`append ${seq} after ${last}`);
    this.log.push({ seq, id: `test-${seq}`, delta: Uint8Array.from(delta) });
    if (this.isEager) this.replica?.durable(seq);
  }
  mayAnswer(): true | Promise<boolean> {
    return this.lease;
  }
  admit(): boolean {
    return this.admits;
  }
  enterHandler(shard: string, handler: string): void {
    if (this.inHandler) throw new Error('handlers overlap');
    this.inHandler = true;
    this.entered.push(`${shard}/${handler}`);
  }
  leaveHandler(): void {
    this.inHandler = false;
  }
  snapshotWanted(): void {}

  // ---- the outside: what left, and what a test lets come back

  sent: HttpSend[] = [];
  /** Answers at once; undefined: never, until the fetch is ended. */
  outside: (request: HttpSend) => HttpAnswer | Promise<HttpAnswer> | undefined = () => answerOf(200, 'ok');
  effectErrors: { what: string; error: unknown }[] = [];
  readonly http: HttpClient = {
    send: async (request) => {
      this.sent.push(request);
      return this.outside(request) ?? new Promise<HttpAnswer>(() => {});
    },
    digest: (text) => encodeURIComponent(text),
  };

  effectFailed(_shard: string, _handler: string, what: string, error: unknown): void {
    this.effectErrors.push({ what, error });
  }

  /** Moves the clocks and fires what is due. */
  advance(ms: number): void {
    this.nowMs += ms;
    for (const timer of this.timers.filter(({ atMs }) => atMs <= this.nowMs)) {
      this.timers = this.timers.filter((other) => other !== timer);
      timer.fire();
    }
  }

  runDeferred(): void {
    for (const run of this.deferred.splice(0)) run();
  }
}

export function answerOf(status: number, body: string, headers: [string, string][] = []): HttpAnswer {
  return { status, headers, body: new TextEncoder().encode(body) };
}

export function request(
  shard: string,
  handler: string,
  input?: unknown,
  more: Partial<ShardRequest> = {},
): ShardRequest {
  return {
    shard,
    handler,
    input: input === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(input)),
    method: 'post',
    origin: 'eu-west-1',
    userHash: 7,
    hops: 0,
    ...more,
  };
}

export function bodyOf(reply: ShardReply): unknown {
  const text = new TextDecoder().decode(reply.body);
  return text === '' ? undefined : JSON.parse(text);
}

/** A promise's outcome as far as it is known after all microtasks: undefined while pending. */
export async function peek<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown } | undefined> {
  let outcome: { value: T } | { error: unknown } | undefined;
  promise.then(
    (value) => {
      outcome = { value };
    },
    (error) => {
      outcome = { error };
    },
  );
  for (let i = 0; i < 10; i++) await Promise.resolve();
  return outcome;
}
