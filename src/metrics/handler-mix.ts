/**
 * Nodes' work by handler, cleaned and added up within a step.
 *
 * Boundary: pure; `windows.ts` says to which step a report belongs. Invariants: whatever a report holds, at most
 * {@link HANDLERS_TAKEN_MAX} entries of it are looked at and a step holds at most as many handlers; numbers are finite
 * and not negative.
 */
import { addHandlerLoad, type HandlerLoad } from '../model/load.ts';

/** Of one report, and of one step: four times what a node names. */
export const HANDLERS_TAKEN_MAX = 1024;
/** Longer names are nobody's: those of services and handlers end at 63 characters. */
const NAME_CHARS_MAX = 64;

/**
 * @param number a field as it counts, whatever it holds
 * @returns what can be used, and how many entries could not
 */
export function cleanMix(
  handlers: readonly HandlerLoad[],
  number: (value: number | undefined) => number,
): { loads: HandlerLoad[]; refused: number } {
  const loads: HandlerLoad[] = [];
  let refused = Math.max(0, handlers.length - HANDLERS_TAKEN_MAX);
  for (const load of handlers.slice(0, HANDLERS_TAKEN_MAX)) {
    if (!isName(load?.service) || !isName(load.handler)) {
      refused++;
      continue;
    }
    const requests = number(load.requests);
    loads.push({
      service: load.service,
      handler: load.handler,
      requests,
      commands: Math.min(requests, number(load.commands)),
      cpuSeconds: number(load.cpuSeconds),
      bytesIn: number(load.bytesIn),
      bytesOut: number(load.bytesOut),
      writeBytes: number(load.writeBytes),
    });
  }
  return { loads, refused };
}

/** Adds a share of what one node did; returns how many handlers a full step has no place for. */
export function mergeMix(
  into: Map<string, HandlerLoad>,
  loads: readonly HandlerLoad[],
  share: number,
): number {
  let refused = 0;
  for (const load of loads) {
    const key = `${load.service}/${load.handler}`;
    let sum = into.get(key);
    if (sum === undefined) {
      if (into.size >= HANDLERS_TAKEN_MAX) {
        refused++;
        continue;
      }
      const { service, handler } = load;
      sum = {
        service,
        handler,
        requests: 0,
        commands: 0,
        cpuSeconds: 0,
        bytesIn: 0,
        bytesOut: 0,
        writeBytes: 0,
      };
      into.set(key, sum);
    }
    addHandlerLoad(sum, load, share);
  }
  return refused;
}

function isName(name: unknown): name is string {
  return typeof name === 'string' && name !== '' && name.length <= NAME_CHARS_MAX;
}
