import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codec } from './delta.ts';
import { openDraft } from './draft.ts';
import {
  Applier,
  Diff,
  freezeDeep,
  type Json,
  type JsonPatchOperation,
  sizeOf,
  toJsonPatch,
} from './patch.ts';

type Members = { [key: string]: Json };

const leaf = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0 || 0),
  fc.boolean(),
  fc.constant(null),
);
const key = fc
  .oneof(
    fc.constantFrom('a', 'b', 'c', 'list', 'x/y', 'm~n', '0', '', 'constructor', 'toString'),
    fc.string({ maxLength: 3 }),
  )
  .filter((k) => k !== '__proto__');
const { value: anyJson } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }).map((members) => ({ ...members })),
  ),
}));
const state = fc.dictionary(key, anyJson, { maxKeys: 6 }).map((members): Members => ({ ...members }));

/** One random mutation, anywhere in the draft. */
const mutation = fc.record({
  path: fc.array(fc.nat(7), { maxLength: 4 }),
  kind: fc.constantFrom(
    'set',
    'delete',
    'push',
    'shift',
    'unshift',
    'splice',
    'reverse',
    'move',
    'sort',
    'window',
  ),
  key,
  index: fc.nat(8),
  value: anyJson,
});

function mutate(
  draft: Members,
  { path, kind, key, index, value }: typeof mutation extends fc.Arbitrary<infer T> ? T : never,
): void {
  let target: Json = draft;
  let parent: Members = draft;
  for (const step of path) {
    const children: Json[] = Object.values(target as Members).filter(
      (v) => typeof v === 'object' && v !== null,
    );
    if (children.length === 0) break;
    if (!Array.isArray(target)) parent = target as Members;
    target = children[step % children.length]!;
  }
  if (Array.isArray(target)) {
    const copy = structuredClone(value);
    if (kind === 'push') target.push(copy);
    else if (kind === 'shift') target.shift();
    else if (kind === 'unshift') target.unshift(copy, index);
    else if (kind === 'splice') target.splice(index, 2, copy);
    else if (kind === 'reverse') target.reverse();
    else if (kind === 'sort') target.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    else if (kind === 'window') {
      target.push(copy);
      target.shift();
    } else if (target.length > 0) target[index % target.length] = copy;
  } else {
    const members = target as Members;
    if (kind === 'delete') delete members[Object.keys(members)[index] ?? ''];
    else if (kind === 'move') parent.moved = members[Object.keys(members)[index] ?? ''] ?? null;
    else members[key] = structuredClone(value);
  }
}

function change(before: Members, f: (draft: Members) => void): { after: Json; diff: Diff } {
  const draft = openDraft(before);
  f(draft.state as Members);
  const after = draft.commit() as Json;
  return { after, diff: Diff.between(before, after) };
}

const list = (length: number) => Array.from({ length }, (_, i) => ({ id: i, text: `message ${i}` }));

describe('changes of a state', () => {
  it('applied to the state before give the state after, through the codec, with the size kept', () => {
    fc.assert(
      fc.property(
        state,
        fc.array(fc.array(mutation, { maxLength: 6 }), { maxLength: 4 }),
        (initial, commands) => {
          freezeDeep(initial);
          let live: Json = initial;
          let replayed: Json = initial;
          let bytes = sizeOf(live);
          const applier = new Applier();
          for (const mutations of commands) {
            const { after, diff } = change(live as Members, (draft) => {
              for (const m of mutations) mutate(draft, m);
            });
            const decoded = codec.unpack(codec.pack(diff.operations)) as typeof diff.operations;
            replayed = applier.apply(replayed, decoded);
            bytes += diff.bytesDelta;
            live = after;
            expect(replayed).toEqual(live);
            expect(bytes).toBe(sizeOf(live));
          }
          expect(sizeOf(initial) + applier.bytesDelta).toBe(sizeOf(live));
          applier.freeze();
          expect(isDeepFrozen(live)).toBe(true);
          expect(isDeepFrozen(replayed)).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('are valid RFC 6902 once unfolded: a plain reading of the standard applies them to the same end', () => {
    fc.assert(
      fc.property(state, fc.array(mutation, { maxLength: 6 }), (before, mutations) => {
        freezeDeep(before);
        const { after, diff } = change(before, (draft) => {
          for (const m of mutations) mutate(draft, m);
        });
        expect(applyByTheStandard(structuredClone(before), toJsonPatch(before, diff.operations))).toEqual(
          after,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('leave the state before as it was', () => {
    fc.assert(
      fc.property(state, fc.array(mutation, { maxLength: 6 }), (before, mutations) => {
        const copy = structuredClone(before);
        freezeDeep(before);
        change(before, (draft) => {
          for (const m of mutations) mutate(draft, m);
        });
        expect(before).toEqual(copy);
      }),
    );
  });

  it.each([
    ['push and shift', (d: { m: object[] }) => d.m.push({ id: -1 }) && d.m.shift(), 2],
    ['a window cut from the head', (d: { m: object[] }) => d.m.push({ id: -1 }) && d.m.splice(0, 500), 2],
    ['an element removed in the middle', (d: { m: object[] }) => d.m.splice(5_000, 1), 1],
    ['an element inserted at the head', (d: { m: object[] }) => d.m.unshift({ id: -1 }), 1],
    ['one member of one element', (d: { m: { text?: string }[] }) => (d.m[77]!.text = 'x'), 1],
    ['a filter that drops one', (d: { m: { id?: number }[] }) => (d.m = d.m.filter((e) => e.id !== 9)), 1],
  ])('on a list of 10,000: %s is written in proportion to the change', (_name, f, operations) => {
    const before = { m: list(10_000) };
    freezeDeep(before);
    const { diff } = change(before as unknown as Members, f as never);
    expect(diff.operations).toHaveLength(operations);
    expect(codec.pack(diff.operations).length).toBeLessThan(60);
  });

  it('give way to the whole value where they would be larger', () => {
    const before = { numbers: [5, 3, 9, 1, 7, 2, 8, 4, 6, 0] };
    freezeDeep(before);
    const { diff } = change(before, (draft) => (draft.numbers as number[]).sort());
    expect(diff.operations).toEqual([[0, '/numbers', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]]);
  });
});

describe('state that is not JSON is refused', () => {
  class Point {
    x = 1;
  }
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  it.each<[string, unknown]>([
    ['a Date', new Date()],
    ['a class instance', new Point()],
    ['a Map', new Map()],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a bigint', 1n],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['undefined in a list', [1, undefined]],
    ['a hole in a list', Array(3)],
    ['a cycle', cycle],
    ['a typed array', new Uint8Array(2)],
    ['half a surrogate pair', '\ud800'],
    ['a member called __proto__', JSON.parse('{"__proto__":1}')],
    ['something deep inside', { a: [{ b: new Date() }] }],
  ])('%s', (_name, value) => {
    for (const place of [
      (d: Members) => (d.added = value as Json),
      (d: Members) => (d.there = value as Json),
      (d: Members) => (d.list as unknown[]).push(value),
      (d: Members) => ((d.list as unknown[])[0] = value),
      (d: Members) => ((d.deep as Members).x = value as Json),
    ]) {
      const before = { there: 1, list: [1], deep: { x: {} } };
      freezeDeep(before);
      expect(() => change(before as never, place)).toThrow(
        expect.objectContaining({ code: 'state-not-json' }),
      );
    }
  });

  it('but a member set to undefined is a member removed, as in JSON', () => {
    const before = { a: 1, b: 2 };
    const { after, diff } = change(before, (d) => {
      d.a = undefined as never;
      d.c = { x: undefined, y: 1 } as never;
    });
    expect(after).toStrictEqual({ b: 2, c: { y: 1 } });
    expect(new Applier().apply(before, diff.operations)).toStrictEqual(after);
  });
});

function isDeepFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeepFrozen);
}

/** RFC 6902, sections 4.1 to 4.3, and nothing clever. */
function applyByTheStandard(document: Json, patch: JsonPatchOperation[]): Json {
  for (const operation of patch) {
    if (operation.path === '') {
      document = (operation as { value: Json }).value;
      continue;
    }
    const tokens = operation.path
      .split('/')
      .slice(1)
      .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = tokens.pop()!;
    let target: Json = document;
    for (const token of tokens) target = (target as Members)[token]!;
    if (Array.isArray(target)) {
      const index = Number(last);
      const limit = operation.op === 'add' ? target.length : target.length - 1;
      if (!(index >= 0 && index <= limit)) throw new Error(`no element ${operation.path}`);
      if (operation.op === 'remove') target.splice(index, 1);
      else target.splice(index, operation.op === 'add' ? 0 : 1, operation.value);
    } else {
      const members = target as Members;
      if (operation.op !== 'add' && !Object.hasOwn(members, last))
        throw new Error(`no member ${operation.path}`);
      if (operation.op === 'remove') delete members[last];
      else members[last] = operation.value;
    }
  }
  return document;
}
