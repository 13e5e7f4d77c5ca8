import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { STAGED_BYTES_MAX, Staging } from './staging.ts';

describe('staging of large snapshots', () => {
  const whole = Buffer.from('a snapshot in three pieces');
  const pieces = [whole.subarray(0, 10), whole.subarray(10, 20), whole.subarray(20)];
  const send = (staging: Staging, id: string, count = 3) => {
    for (let i = 0; i < count; i++) staging.add(id, whole.length, i * 10, pieces[i]!);
  };

  it('gives the whole once, and keeps nothing of it', () => {
    const staging = new Staging(() => 0);
    send(staging, 'a');
    expect(Buffer.from(staging.take('a', crc32(whole)))).toEqual(whole);
    expect(staging.stagedBytes).toBe(0);
    expect(() => staging.take('a', crc32(whole))).toThrow(/send it again/);
  });

  it('gives nothing of an incomplete or damaged one', () => {
    const staging = new Staging(() => 0);
    send(staging, 'a', 2);
    expect(() => staging.take('a', crc32(whole))).toThrow(/missing/);
    send(staging, 'b');
    expect(() => staging.take('b', crc32(whole) ^ 1)).toThrow(/damaged/);
    expect(staging.stagedBytes).toBe(0);
  });

  it('begins anew where the first piece comes again, and refuses pieces out of place', () => {
    const staging = new Staging(() => 0);
    send(staging, 'a', 2);
    send(staging, 'a');
    expect(Buffer.from(staging.take('a', crc32(whole)))).toEqual(whole);
    expect(() => staging.add('b', whole.length, 10, pieces[1]!)).toThrow(/piece at 10/);
    expect(staging.stagedBytes).toBe(0);
  });

  it('is bounded; what was abandoned makes room', () => {
    let nowMs = 0;
    const staging = new Staging(() => nowMs);
    const size = 64 * 1024 * 1024;
    for (let i = 0; i < STAGED_BYTES_MAX / size; i++) staging.add(`u${i}`, size, 0, new Uint8Array(1));
    expect(() => staging.add('more', size, 0, new Uint8Array(1))).toThrow(/try again/);
    nowMs = 60_000;
    staging.add('more', size, 0, new Uint8Array(1));
    expect(staging.stagedBytes).toBe(size);
    expect(() => staging.add('huge', size + 1, 0, new Uint8Array(1))).toThrow(/limit/);
  });
});
