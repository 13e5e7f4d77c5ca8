/**
 * The way in: each request to its lane, or held while the replica is sealed.
 */

import { enqueue, startCommand } from './command-lane.ts';
import { Demoted, type HeldRequest } from './contract.ts';
import type { ReplicaCore } from './core.ts';
import { type LoadedHandler, unknownHandler } from './handlers.ts';
import { startQuery } from './query-lane.ts';
import { hold } from './reply-gate.ts';

export function offer(core: ReplicaCore, held: HeldRequest): void {
  const { request } = held;
  if (core.role !== 'primary') {
    held.reject(new Demoted(false));
    return;
  }
  const handler = core.loaded.handlers.get(request.handler);
  if (handler === undefined) {
    held.resolve(core.stamp(unknownHandler(core.loaded, request)));
    return;
  }
  core.lastUsedMs = core.host.monotonicMs();
  core.meter.offered(request, handler, core.lastUsedMs);
  start(core, held, handler);
}

export function start(core: ReplicaCore, held: HeldRequest, handler: LoadedHandler): void {
  if (core.sealed) {
    hold(core, held);
  } else if (!handler.isCommand) {
    startQuery(core, held, handler);
  } else if (core.running !== undefined || (core.queue !== undefined && core.queue.length > 0)) {
    enqueue(core, held);
  } else {
    startCommand(core, held, handler);
  }
}
