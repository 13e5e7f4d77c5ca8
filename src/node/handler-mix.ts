/**
 * A node's work by handler, as its report carries it: small whatever an app declares.
 *
 * Boundary: pure. Invariants: at most {@link HANDLERS_NAMED_MAX} handlers by name, those that took most CPU since the
 * process began, so that the choice does not change from step to step; the others of a service are one, and nothing of
 * theirs is lost.
 */
import { addHandlerLoad, type HandlerLoad, OTHER_HANDLERS } from '../model/load.ts';
import type { HandlerWork } from '../shard/contract.ts';

/** By name in one report: some 20 kB. Nearly every app declares fewer. */
export const HANDLERS_NAMED_MAX = 256;

/** @param speed of the node: CPU is normalised by it, as that of shards is */
export function mixOf(work: readonly HandlerWork[], speed: number): HandlerLoad[] {
  const named =
    work.length <= HANDLERS_NAMED_MAX ? work : work.toSorted((a, b) => b.cpuMicrosEver - a.cpuMicrosEver);
  const loads: HandlerLoad[] = [];
  const others = new Map<string, HandlerLoad>();
  named.forEach(({ service, handler, isCommand, requests, cpuMicros, bytesIn, bytesOut, writeBytes }, i) => {
    const load: HandlerLoad = {
      service,
      handler,
      requests,
      commands: isCommand ? requests : 0,
      cpuSeconds: (cpuMicros / 1e6) * speed,
      bytesIn,
      bytesOut,
      writeBytes,
    };
    if (i < HANDLERS_NAMED_MAX) {
      loads.push(load);
      return;
    }
    const known = others.get(service);
    if (known === undefined) others.set(service, { ...load, handler: OTHER_HANDLERS });
    else addHandlerLoad(known, load, 1);
  });
  return [...loads, ...others.values()];
}
