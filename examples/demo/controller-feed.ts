/** The controller's API as the demo reads it: its event stream, and what it says when asked. */
import { Agent, request } from 'undici';
import type { Decision } from '../../src/model/loop.ts';
import type { ForecastSeries, MigrationEvent, NodeView } from './view.ts';

export interface FeedHandlers {
  onDecision(decision: Decision): void;
  onMigration(migration: MigrationEvent): void;
  onNodes(nodes: NodeView[]): void;
  onForecast(forecast: ForecastSeries): void;
}

const RECONNECT_MS = 500;
const ASK_EVERY_MS = 1_000;

export class ControllerFeed {
  readonly #api: string;
  readonly #handlers: FeedHandlers;
  readonly #headers: Record<string, string>;
  readonly #stop = new AbortController();
  readonly #agent = new Agent({ bodyTimeout: 0, headersTimeout: 10_000 });
  readonly #finished: Promise<unknown>;

  constructor(api: string, token: string, handlers: FeedHandlers) {
    this.#api = api;
    this.#handlers = handlers;
    this.#headers = { authorization: `Bearer ${token}` };
    this.#finished = Promise.all([this.#follow(), this.#ask()]);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#finished;
    await this.#agent.destroy();
  }

  /** Everything the controller still knows of its migrations: fills what the stream may have missed. */
  async migrations(): Promise<MigrationEvent[]> {
    const { migrations } = await this.#get<{ migrations: MigrationEvent[] }>('/v1/migrations');
    return migrations.map((migration) => ({
      ...migration,
      atMs: migration.endedAtMs ?? migration.startedAtMs,
    }));
  }

  async #get<Result>(path: string): Promise<Result> {
    const reply = await request(`${this.#api}${path}`, {
      dispatcher: this.#agent,
      headers: this.#headers,
      signal: this.#stop.signal,
    });
    if (reply.statusCode !== 200) {
      throw new Error(`${path} was answered ${reply.statusCode}: ${(await reply.body.text()).slice(0, 200)}`);
    }
    return (await reply.body.json()) as Result;
  }

  async #pause(ms: number): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      const signal = this.#stop.signal;
      function done() {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done);
    });
  }

  /** The controller may be restarted under us: the stream is then taken up where it broke. */
  async #follow(): Promise<void> {
    let lastEventId = '';
    while (!this.#stop.signal.aborted) {
      try {
        const reply = await request(`${this.#api}/v1/events`, {
          dispatcher: this.#agent,
          headers: { ...this.#headers, ...(lastEventId === '' ? {} : { 'last-event-id': lastEventId }) },
          signal: this.#stop.signal,
        });
        const parser = new EventParser((event) => {
          if (event.id !== '') lastEventId = event.id;
          if (event.type === 'decision') this.#handlers.onDecision(JSON.parse(event.data) as Decision);
          if (event.type === 'migration')
            this.#handlers.onMigration(JSON.parse(event.data) as MigrationEvent);
        });
        reply.body.setEncoding('utf8');
        for await (const chunk of reply.body) parser.push(chunk as string);
      } catch {
        // Ended by us, or the controller is away: either way the loop knows.
      }
      await this.#pause(RECONNECT_MS);
    }
  }

  async #ask(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const { nodes } = await this.#get<{ nodes: NodeView[] }>('/v1/nodes');
        this.#handlers.onNodes(nodes);
        this.#handlers.onForecast(await this.#get<ForecastSeries>('/v1/forecast'));
      } catch {
        // Nothing is known yet, or the controller is away: the screen keeps what it had.
      }
      await this.#pause(ASK_EVERY_MS);
    }
  }
}

interface ServerSentEvent {
  id: string;
  type: string;
  data: string;
}

/** Server-sent events from chunks of text, however they are cut. */
export class EventParser {
  readonly #onEvent: (event: ServerSentEvent) => void;
  #pending = '';
  #event: ServerSentEvent = { id: '', type: 'message', data: '' };

  constructor(onEvent: (event: ServerSentEvent) => void) {
    this.#onEvent = onEvent;
  }

  push(text: string): void {
    const lines = (this.#pending + text).split('\n');
    this.#pending = lines.pop() ?? '';
    for (const line of lines) this.#line(line.replace(/\r$/, ''));
  }

  #line(line: string): void {
    if (line === '') {
      if (this.#event.data !== '') this.#onEvent(this.#event);
      this.#event = { id: '', type: 'message', data: '' };
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') this.#event.id = value;
    if (field === 'event') this.#event.type = value;
    if (field === 'data') this.#event.data += this.#event.data === '' ? value : `\n${value}`;
  }
}
