/**
 * The service of the demo: a room that people speak in. It watches its own history: each person numbers what they say
 * in a room, 1, 2, 3 and so on, so the room itself notices what was lost (a gap) and what happened twice (a repeat).
 *
 *   curl -X POST localhost:8080/room/lobby/say -H 'content-type: application/json' -d '{"person":"ada","number":1}'
 *   curl localhost:8080/room/lobby/read
 */
import { command, defineApp, query, Refusal, service } from 'skein';
import { z } from 'zod';

/** People a room knows; beyond it, it takes no new ones, because forgetting one would hide a gap. */
export const PEOPLE_MAX = 4096;
/** Skipped numbers that a room remembers one by one; further ones are counted only. */
export const MISSING_MAX = 256;

export interface RoomState {
  said: number;
  /** Person -> number of what they said last. */
  last: Record<string, number>;
  /** Numbers that were skipped, as `person#number`. */
  missing: string[];
  /** Numbers skipped in all. */
  gaps: number;
  /** Numbers that came a second time. */
  repeats: number;
}

const room = service(
  'room',
  { version: 1, state: (): RoomState => ({ said: 0, last: {}, missing: [], gaps: 0, repeats: 0 }) },
  {
    say: command(
      z.object({ person: z.string().min(1).max(40), number: z.int().positive() }),
      ({ state }, { person, number }) => {
        const last = state.last[person];
        if (last === undefined && Object.keys(state.last).length >= PEOPLE_MAX) {
          throw new Refusal('room-full', `this room knows ${PEOPLE_MAX} people and takes no more`);
        }
        state.said += 1;
        if (number <= (last ?? 0)) {
          state.repeats += 1;
          return { said: state.said };
        }
        for (let skipped = (last ?? 0) + 1; skipped < number; skipped++) {
          state.gaps += 1;
          if (state.missing.length < MISSING_MAX) state.missing.push(`${person}#${skipped}`);
        }
        state.last[person] = number;
        return { said: state.said };
      },
    ),
    read: query(({ state }) => ({ said: state.said, gaps: state.gaps, repeats: state.repeats })),
    /** What the audit compares with what people were told. */
    audit: query(({ state }) => state),
  },
);

export const app = defineApp([room]);
