/**
 * A loaded app: opens replicas of its services and says which requests are refused before a shard is looked up.
 */
import { ProblemError, problem, problemOf, Refusal } from '../model/errors.ts';
import { parseShardId } from '../model/ids.ts';
import type { ServiceManifest } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { App } from '../sdk/service.ts';
import type { HandlerWork, ShardReplica, ShardRuntime } from './contract.ts';
import { AppEffects, type EffectCounts } from './effects.ts';
import { type LoadedHandler, type LoadedService, loadService, unknownHandler } from './handlers.ts';
import { BODY_BYTES_MAX, SLICE_MS_MAX } from './limits.ts';
import { Replica } from './replica.ts';
import { newerState } from './roles.ts';
import { decodeSnapshot, type SnapshotContent, unhurried } from './snapshot.ts';

export function loadApp(app: App): ShardRuntime {
  return new Runtime(app);
}

type OpenOptions = Parameters<ShardRuntime['open']>[0];

class Runtime implements ShardRuntime {
  readonly #app: App;
  readonly #services = new Map<string, LoadedService>();
  readonly #effects: AppEffects;

  constructor(app: App) {
    this.#app = app;
    this.#effects = new AppEffects(app.options.allowFetch);
    for (const service of app.services) {
      this.#services.set(service.name, loadService(service, this.#effects));
    }
  }

  manifest(): Record<string, ServiceManifest> {
    const manifest: Record<string, ServiceManifest> = {};
    for (const [name, loaded] of this.#services) {
      const handlers: ServiceManifest['handlers'] = {};
      for (const handler of loaded.handlers.values()) {
        handlers[handler.name] = handler.isCommand ? 'command' : 'query';
      }
      const { allowedRegions, standbys = 0, standbySpread, staleReads } = loaded.service.options;
      manifest[name] = {
        version: loaded.version,
        handlers,
        authorize: this.#app.options.authorize !== undefined,
        ...(allowedRegions === undefined ? {} : { allowedRegions: [...allowedRegions] }),
        ...(standbys === 0 ? {} : { standbys: { count: standbys, spread: standbySpread ?? 'zones' } }),
        ...(staleReads === undefined ? {} : { staleReads: { atMostMs: staleReads.atMostMs } }),
      };
    }
    return manifest;
  }

  async open({ shard, epoch, role, opening, host, slicer: given }: OpenOptions): Promise<ShardReplica> {
    const loaded = this.#loaded(shard);
    // A primary is waited for; a copy that will follow is not.
    const slicer = given ?? (role === 'primary' ? host : unhurried(host));
    let content: SnapshotContent | undefined;
    let seq = 0;
    if (opening.snapshot !== undefined) {
      const decoded = decodeSnapshot(opening.snapshot.bytes, slicer);
      content = decoded instanceof Promise ? await decoded : decoded;
      seq = opening.snapshot.seq;
      if (content.version > loaded.version) throw newerState(shard, content.version, loaded.version);
    }
    // Every replica starts as a follower of its own log: one way to apply, whoever made the deltas.
    const replica = new Replica({ shard, epoch, role: 'follower', loaded, host, content, seq });
    try {
      const { entries } = opening;
      for (let at = 0; at < entries.length; ) {
        const startMs = host.monotonicMs();
        while (at < entries.length && host.monotonicMs() - startMs < SLICE_MS_MAX) {
          replica.apply(entries.slice(at, at + REPLAY_BATCH));
          at += REPLAY_BATCH;
        }
        if (at < entries.length) await new Promise<void>((resolve) => slicer.defer(resolve));
      }
    } catch (cause) {
      if (cause instanceof ProblemError) throw cause;
      throw new ProblemError(
        'state-unreadable',
        `the log of ${shard} does not replay: ${cause}`,
        {},
        { cause },
      );
    }
    if (role === 'primary') replica.promote(epoch);
    return replica;
  }

  admission(request: ShardRequest): ShardReply | undefined | Promise<ShardReply | undefined> {
    let shard: { service: string; key: string };
    try {
      shard = parseShardId(request.shard);
    } catch (error) {
      return problem('key-invalid', (error as Error).message);
    }
    const loaded = this.#services.get(shard.service);
    if (loaded === undefined) {
      const known = [...this.#services.keys()].join(', ');
      return problem('service-unknown', `there is no service ${shard.service}; there are ${known}`);
    }
    const handler = loaded.handlers.get(request.handler);
    if (handler === undefined) return unknownHandler(loaded, request);
    if (handler.isCommand && request.method === 'get') {
      return problem('method-not-allowed', `${shard.service}.${handler.name} is a command: use POST`);
    }
    if (request.input.length > BODY_BYTES_MAX) {
      const detail = `the body has ${request.input.length} bytes, over the limit of ${BODY_BYTES_MAX}`;
      return problem('body-too-large', detail);
    }
    return this.#authorize(request, shard, handler);
  }

  effects(): EffectCounts {
    return this.#effects.counts;
  }

  takeWork(): HandlerWork[] {
    const taken: HandlerWork[] = [];
    for (const [service, { handlers }] of this.#services)
      for (const { name, isCommand, work } of handlers.values()) {
        const { requests, cpuMicros, bytesOut, writeBytes } = work;
        if (requests === 0 && cpuMicros === 0 && bytesOut === 0 && writeBytes === 0) continue;
        work.cpuMicrosEver += cpuMicros;
        taken.push({ service, handler: name, isCommand, ...work });
        work.requests = work.cpuMicros = work.bytesIn = work.bytesOut = work.writeBytes = 0;
      }
    return taken;
  }

  #authorize(
    request: ShardRequest,
    shard: { service: string; key: string },
    handler: LoadedHandler,
  ): ShardReply | undefined | Promise<ShardReply | undefined> {
    const { authorize } = this.#app.options;
    if (authorize === undefined) return undefined;
    try {
      const allowed = authorize(
        {
          handler: handler.name,
          kind: handler.isCommand ? 'command' : 'query',
          method: request.method,
          origin: request.origin,
          headers: request.headers ?? {},
        },
        shard,
      );
      return allowed instanceof Promise ? allowed.then(verdict, authorizeFailed) : verdict(allowed);
    } catch (error) {
      return authorizeFailed(error);
    }
  }

  #loaded(shard: string): LoadedService {
    const { service } = parseShardId(shard);
    const loaded = this.#services.get(service);
    if (loaded === undefined) throw new ProblemError('service-unknown', `there is no service ${service}`);
    return loaded;
  }
}

// Entries between two looks at the clock.
const REPLAY_BATCH = 64;

function verdict(allowed: boolean): ShardReply | undefined {
  return allowed === true ? undefined : problem('forbidden', 'the app does not allow this caller to do this');
}

function authorizeFailed(error: unknown): ShardReply {
  if (error instanceof ProblemError || error instanceof Refusal) return problemOf(error);
  // Closed on failure, and silent about why: the caller is not trusted yet.
  return problem('internal', 'the app could not decide whether the caller may do this');
}
