/**
 * Simulated people over real HTTP: each numbers what they say in a room, sends the next command only after the answer to
 * the last, asks a query now and then, and never retries. What they were told is kept for the audit.
 *
 * Everything can be waited for by events: `rounds` (everybody got so many more answers), never by time.
 */
import { Pool } from 'undici';
import { Acknowledgements } from '../../../examples/demo/acknowledgements.ts';

/** Longer than any budget inside the cluster: a request that takes longer hangs, which no fault excuses. */
const HEADERS_TIMEOUT_MS = 30_000;
const PAUSE_AFTER_FAILURE_MS = 50;
const QUERY_EVERY = 4;

export interface Answer {
  gateway: string;
  key: string;
  kind: 'command' | 'query';
  sentMs: number;
  tookMs: number;
  /** 0: no answer; `code` then is the connection's error. */
  status: number;
  code?: string;
  servedBy?: string;
  /** How much had been said in the room, as answered. */
  said?: number;
  /** The room had been further on in an earlier answer to the same person: a stale read. */
  stale?: boolean;
}

export interface UsersOptions {
  /** Name -> base URL: people are dealt out in turn. */
  gateways: Record<string, string>;
  people: number;
  /** Rooms, people in turn; default: one a person. */
  rooms?: number;
  /** First part of every key: rooms of two cases never meet. */
  prefix: string;
  thinkMs?: number;
  /** Kept together with those of other cases, for one audit of all. */
  acknowledgements?: Acknowledgements;
}

export class Users {
  readonly answers: Answer[] = [];
  readonly acknowledgements: Acknowledgements;
  readonly #options: UsersOptions;
  readonly #pools = new Map<string, Pool>();
  readonly #counts: number[];
  readonly #people: Promise<void>[] = [];
  #waiting: (() => void)[] = [];
  #stopping = false;

  constructor(options: UsersOptions) {
    this.#options = options;
    this.acknowledgements = options.acknowledgements ?? new Acknowledgements();
    this.#counts = new Array<number>(options.people).fill(0);
    const names = Object.keys(options.gateways);
    for (const name of names) {
      const pool = new Pool(options.gateways[name]!, {
        connections: Math.ceil(options.people / names.length),
        pipelining: 1,
        headersTimeout: HEADERS_TIMEOUT_MS,
      });
      this.#pools.set(name, pool);
    }
    for (let i = 0; i < options.people; i++) this.#people.push(this.#person(i, names[i % names.length]!));
  }

  get failed(): Answer[] {
    return this.answers.filter(({ status, stale }) => status < 200 || status > 299 || stale === true);
  }

  /** Resolves when each person (of one gateway, where named) has got `count` more 2xx answers. */
  async rounds(count: number, gateway?: string): Promise<void> {
    const names = Object.keys(this.#options.gateways);
    const counts = this.#counts;
    const goal = counts.map((so, i) =>
      gateway === undefined || names[i % names.length] === gateway ? so + count : 0,
    );
    while (counts.some((so, i) => so < goal[i]!) && !this.#stopping) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Resolves when every request under way has been answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#people);
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  /** Longest answer of each room among those still under way at or sent after `sinceMs`. */
  longestMs(sinceMs: number, rooms?: ReadonlySet<string>): number {
    let longest = 0;
    for (const { key, sentMs, tookMs } of this.answers) {
      if (sentMs + tookMs > sinceMs && (rooms?.has(key) ?? true)) longest = Math.max(longest, tookMs);
    }
    return longest;
  }

  /** Process id -> rooms that it served last. */
  served(): Map<string, Set<string>> {
    const last = new Map<string, string>();
    for (const { key, servedBy } of this.answers) if (servedBy !== undefined) last.set(key, servedBy);
    const served = new Map<string, Set<string>>();
    for (const [key, process] of last) {
      const rooms = served.get(process) ?? new Set<string>();
      served.set(process, rooms.add(key));
    }
    return served;
  }

  /** `12 x 503 unavailable` and so on, for messages. */
  describeFailures(): string {
    const kinds = Map.groupBy(
      this.failed,
      ({ gateway, kind, status, code, servedBy, stale }) =>
        `${gateway} ${kind} ${status} ${stale ? 'stale' : ''}${code ?? ''} ${servedBy ?? ''}`,
    );
    return [...kinds].map(([kind, ones]) => `${ones.length} x ${kind}`).join(', ');
  }

  async #person(index: number, gateway: string): Promise<void> {
    const { prefix, people, rooms = people, thinkMs = 20 } = this.#options;
    const key = `${prefix}-${index % rooms}`;
    const person = `p${index}`;
    let number = 0;
    let saidMax = 0;
    for (let request = index; !this.#stopping; request++) {
      const query = request % QUERY_EVERY === 0;
      const answer = query
        ? await this.#send(gateway, key, person, 'query')
        : await this.#send(gateway, key, person, 'command', JSON.stringify({ person, number: ++number }));
      // Answers to one person never go back, whoever gives them.
      if (answer.said !== undefined && answer.said < saidMax) answer.stale = true;
      saidMax = Math.max(saidMax, answer.said ?? 0);
      const good = answer.status >= 200 && answer.status < 300;
      if (!query) this.acknowledgements.note(key, person, number, good ? 'acknowledged' : 'unknown');
      if (good) {
        this.#counts[index]!++;
        for (const wake of this.#waiting.splice(0)) wake();
      }
      // People think; somebody who was refused a moment longer.
      const pauseMs = good ? thinkMs * (0.5 + ((index * 7 + request) % 10) / 10) : PAUSE_AFTER_FAILURE_MS;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #send(
    gateway: string,
    key: string,
    person: string,
    kind: 'command' | 'query',
    body?: string,
  ): Promise<Answer> {
    const answer: Answer = { gateway, key, kind, sentMs: performance.now(), tookMs: 0, status: 0 };
    try {
      const reply = await this.#pools.get(gateway)!.request({
        method: kind === 'command' ? 'POST' : 'GET',
        path: `/room/${key}/${kind === 'command' ? 'say' : 'read'}`,
        body,
        headers: { 'content-type': 'application/json', 'skein-user': person },
      });
      answer.servedBy = reply.headers['skein-served-by'] as string | undefined;
      const text = await reply.body.text();
      answer.status = reply.statusCode;
      if (reply.statusCode > 299) answer.code = text;
      else answer.said = (JSON.parse(text) as { said: number }).said;
    } catch (error) {
      answer.code = (error as { code?: string }).code ?? (error as Error).message;
    }
    answer.tookMs = performance.now() - answer.sentMs;
    this.answers.push(answer);
    return answer;
  }
}
