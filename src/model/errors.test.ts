import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERRORS, ProblemError, parseProblem, problem, problemOf, Refusal } from './errors.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

describe('documented errors', () => {
  it('has one entry in docs/errors.md for each code, with its status, title and remedy, and no other entry', () => {
    const documented = [...page.matchAll(/^### ([a-z-]+)\n\n\*\*(\d{3})\*\* · (.+)\n\n(.+)$/gm)].map(
      ([, code, status, title, remedy]) => [code, { status: Number(status), title, remedy }],
    );
    expect(Object.fromEntries(documented)).toEqual(ERRORS);
    expect([...page.matchAll(/^### /gm)]).toHaveLength(Object.keys(ERRORS).length);
  });

  it('makes RFC 9457 documents whose own members no extension can overwrite', () => {
    const { status, body } = problem('overloaded', 'the queue is full', { status: 1, code: 'x', waiting: 3 });
    expect(status).toBe(503);
    expect(parseProblem(new TextDecoder().decode(body))).toEqual({
      type: 'https://skein.dev/errors#overloaded',
      title: ERRORS.overloaded.title,
      status: 503,
      detail: 'the queue is full',
      code: 'overloaded',
      waiting: 3,
    });
  });

  it('renders refusals with their own status and code', () => {
    const refusal = new Refusal('room-full', 'the room takes 50 people');
    expect(refusal.status).toBe(409);
    expect(parseProblem(new TextDecoder().decode(problemOf(refusal).body))).toMatchObject({
      type: 'about:blank',
      code: 'room-full',
      status: 409,
      detail: 'the room takes 50 people',
    });
    expect(() => new Refusal('x', 'y', { status: 500 })).toThrow(RangeError);
    expect(() => new Refusal('Not A Code', 'y')).toThrow(RangeError);
  });

  it('gives a ProblemError the status of its code', () => {
    expect(new ProblemError('state-version-newer', 'state is at 3').status).toBe(503);
  });

  it('reads anything that is not a problem document as undefined', () => {
    for (const body of ['', 'null', '[]', '{"code":3}', '<html>']) expect(parseProblem(body)).toBeUndefined();
  });
});
