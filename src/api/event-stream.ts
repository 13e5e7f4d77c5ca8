/**
 * `GET /v1/events`: what happens, as server-sent events.
 *
 * An event's id is `<controller start>:<number>`. A client that reconnects with `Last-Event-ID` gets what it missed;
 * where that is no longer kept, or another controller answers, the first event is `reset`: read the present state
 * again. A client that does not read is cut off (it comes back by itself), so one slow reader costs bounded memory.
 */
import type { ControllerEvent, EventRing } from '../controller/event-ring.ts';
import type { Clock } from '../io/io.ts';

const HEARTBEAT_MS = 15_000;
const WAITING_EVENTS_MAX = 1_000;
export const STREAMS_MAX = 64;

export interface EventStreamOptions {
  ring: EventRing;
  clock: Clock;
  lastEventId: string | undefined;
  /** Absent: all. */
  types?: ReadonlySet<string>;
  onEnd: () => void;
}

export function eventStream(options: EventStreamOptions): ReadableStream<Uint8Array> {
  const { ring, clock, types } = options;
  const encoder = new TextEncoder();
  let stopListening = () => {};
  let cancelHeartbeat = () => {};
  const end = () => {
    stopListening();
    cancelHeartbeat();
    stopListening = () => {};
    options.onEnd();
    options.onEnd = () => {};
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const write = (text: string) => {
          controller.enqueue(encoder.encode(text));
          if ((controller.desiredSize ?? 0) < -WAITING_EVENTS_MAX) {
            end();
            controller.close();
          }
        };
        const send = (event: ControllerEvent) => {
          if (types && !types.has(event.type)) return;
          const data = JSON.stringify({ atMs: event.atMs, ...event.data });
          write(`id: ${ring.stream}:${event.id}\nevent: ${event.type}\ndata: ${data}\n\n`);
        };
        const beat = () => {
          cancelHeartbeat = clock.setTimer(HEARTBEAT_MS, () => {
            write(': still here\n\n');
            beat();
          });
        };
        write('retry: 1000\n\n');
        const { events, complete } = missed(ring, options.lastEventId);
        if (!complete)
          write(`id: ${ring.stream}:${(events[0]?.id ?? ring.lastId + 1) - 1}\nevent: reset\ndata: {}\n\n`);
        for (const event of events) send(event);
        stopListening = ring.listen(send);
        beat();
      },
      cancel: end,
    },
    { highWaterMark: 64 },
  );
}

function missed(
  ring: EventRing,
  lastEventId: string | undefined,
): { events: ControllerEvent[]; complete: boolean } {
  // Without an id the client wants what comes from now on.
  if (lastEventId === undefined || lastEventId === '') return { events: [], complete: true };
  const colon = lastEventId.lastIndexOf(':');
  const number = Number(lastEventId.slice(colon + 1));
  if (lastEventId.slice(0, colon) !== ring.stream || !Number.isSafeInteger(number))
    return { events: [], complete: false };
  return ring.since(number);
}
