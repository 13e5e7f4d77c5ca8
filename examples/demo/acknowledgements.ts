/**
 * What people were told has happened, kept compactly: per person and key the highest acknowledged number, and the
 * numbers whose outcome is unknown. Pure. The audit compares it with what is on disk.
 *
 * A person numbers commands without gaps and sends the next only after the answer to the last, so everything up to
 * the highest acknowledged number was acknowledged, but for the numbers that failed.
 */

export interface PersonRecord {
  /** Highest number that was answered 2xx; 0 if none. */
  acknowledged: number;
  /** Numbers that were sent and not answered 2xx: they may or may not have happened. */
  unknown: number[];
}

/** key -> person -> record, as JSON. */
export type AcknowledgementRecord = Record<string, Record<string, PersonRecord>>;

export class Acknowledgements {
  readonly #records: AcknowledgementRecord = {};
  acknowledged = 0;

  note(key: string, person: string, number: number, outcome: 'acknowledged' | 'unknown'): void {
    const record = this.#person(key, person);
    if (outcome === 'unknown') {
      record.unknown.push(number);
      return;
    }
    this.acknowledged++;
    record.acknowledged = Math.max(record.acknowledged, number);
  }

  #person(key: string, person: string): PersonRecord {
    let people = this.#records[key];
    if (!people) {
      people = {};
      this.#records[key] = people;
    }
    let record = people[person];
    if (!record) {
      record = { acknowledged: 0, unknown: [] };
      people[person] = record;
    }
    return record;
  }

  toJSON(): AcknowledgementRecord {
    return this.#records;
  }
}

/** What the room itself noticed: the part of its state that the audit reads. */
export interface RoomOnDisk {
  last: Record<string, number>;
  missing: string[];
  gaps: number;
  repeats: number;
}

export interface AuditResult {
  acknowledged: number;
  /** Acknowledged commands of which the state on disk knows nothing. */
  lost: number;
  /** Commands that happened twice. */
  duplicated: number;
}

/** Compares the promises made for one key with its room; `undefined` where nothing is on disk. */
export function auditKey(people: Record<string, PersonRecord>, room: RoomOnDisk | undefined): AuditResult {
  const result: AuditResult = { acknowledged: 0, lost: 0, duplicated: room?.repeats ?? 0 };
  const missing = new Set(room?.missing ?? []);
  // Skipped numbers beyond those the room remembers by name cannot be excused by an unknown outcome.
  result.lost += Math.max(0, (room?.gaps ?? 0) - missing.size);
  for (const [person, { acknowledged, unknown }] of Object.entries(people)) {
    const unknowns = new Set(unknown);
    const last = room?.last[person] ?? 0;
    for (let number = 1; number <= acknowledged; number++) {
      if (unknowns.has(number)) continue;
      result.acknowledged++;
      if (number > last || missing.has(`${person}#${number}`)) result.lost++;
    }
  }
  return result;
}

export function addAudits(a: AuditResult, b: AuditResult): AuditResult {
  return {
    acknowledged: a.acknowledged + b.acknowledged,
    lost: a.lost + b.lost,
    duplicated: a.duplicated + b.duplicated,
  };
}
