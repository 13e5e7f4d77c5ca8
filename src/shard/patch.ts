/**
 * Changes between two immutable JSON states, found by structural sharing: what is the same object is the same.
 *
 * `diff` also is where JSON is enforced: it visits exactly what a command changed, refuses what JSON cannot hold, and
 * freezes what it accepts, so that committed state cannot be changed behind the log's back.
 *
 * Operations are RFC 6902 with runs folded: one splice stands for consecutive removes and adds of a list, which makes
 * a window (push and shift on 10,000 messages) two operations instead of 10,000. {@link toJsonPatch} unfolds them.
 *
 * Invariants: apply(before, diff(before, after)) equals after; the operations are never much larger than the value
 * they change, else the value replaces them.
 */
import { ProblemError } from '../model/errors.ts';
import { STATE_DEPTH_MAX } from './limits.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export const SET = 0;
export const REMOVE = 1;
export const SPLICE = 2;

export type PatchOperation =
  /** Sets a member, an element that exists, or with path '' the whole state. */
  | [op: typeof SET, path: string, value: Json]
  /** Removes a member of an object. */
  | [op: typeof REMOVE, path: string]
  /** At `index` of the list at `path`: removes `removed` elements, then inserts. */
  | [op: typeof SPLICE, path: string, index: number, removed: number, inserted: Json[]];

/** One operation of an RFC 6902 JSON Patch. */
export type JsonPatchOperation =
  | { op: 'add' | 'replace'; path: string; value: Json }
  | { op: 'remove'; path: string };

type Members = Record<string, unknown>;

// Comparisons that the search for a moved list window may spend, as a multiple of the two lists' lengths.
const LOOKAHEAD_FACTOR = 4;

export class Diff {
  readonly operations: PatchOperation[] = [];
  /** Change of the estimated size of the state, bytes. */
  bytesDelta = 0;

  /** @throws ProblemError `state-not-json`. */
  static between(before: unknown, after: unknown): Diff {
    const diff = new Diff();
    diff.#value(before, after, '', 0);
    return diff;
  }

  /** The whole state as one operation: the first delta of a shard, so that its log never depends on code. */
  static whole(after: unknown): Diff {
    const diff = new Diff();
    admit(after, '', 0);
    diff.operations.push([SET, '', after as Json]);
    diff.bytesDelta = sizeOf(after);
    return diff;
  }

  #value(before: unknown, after: unknown, path: string, depth: number): void {
    if (before === after) return;
    if (typeof before === 'object' && before !== null && typeof after === 'object' && after !== null) {
      const isList = Array.isArray(after);
      if (isList === Array.isArray(before)) {
        const first = this.operations.length;
        if (depth > STATE_DEPTH_MAX) throw tooDeep(path);
        if (isList) this.#list(before as unknown[], after, path, depth);
        else this.#members(before as Members, after as Members, path, depth);
        this.#preferWhole(first, after, path);
        return;
      }
    }
    admit(after, path, depth);
    this.bytesDelta += sizeOf(after) - sizeOf(before);
    this.operations.push([SET, path, after as Json]);
  }

  #members(before: Members, after: Members, path: string, depth: number): void {
    requirePlain(after, path);
    let count = 0;
    for (const key of Object.keys(after)) {
      const value = after[key];
      if (value === undefined) {
        dropUndefined(after, key, path);
        continue;
      }
      count++;
      const old = before[key];
      if (value === old) continue;
      if (old === undefined || !Object.hasOwn(before, key)) {
        const at = member(path, key);
        checkKey(key, path);
        admit(value, at, depth + 1);
        this.bytesDelta += key.length + 1 + sizeOf(value);
        this.operations.push([SET, at, value as Json]);
      } else {
        this.#value(old, value, member(path, key), depth + 1);
      }
    }
    const oldKeys = Object.keys(before);
    if (oldKeys.length !== count || this.#addedSince(before, after)) {
      for (const key of oldKeys) {
        if (Object.hasOwn(after, key)) continue;
        this.bytesDelta -= key.length + 1 + sizeOf(before[key]);
        this.operations.push([REMOVE, member(path, key)]);
      }
    }
    Object.freeze(after);
  }

  /** As many members as before, but not the same ones? */
  #addedSince(before: Members, after: Members): boolean {
    for (const key in after) if (!Object.hasOwn(before, key)) return true;
    return false;
  }

  #list(before: unknown[], after: unknown[], path: string, depth: number): void {
    let lookaheads = LOOKAHEAD_FACTOR * (before.length + after.length);
    let endBefore = before.length;
    let endAfter = after.length;
    let i = 0;
    while (i < endBefore && i < endAfter && before[i] === after[i]) i++;
    while (endBefore > i && endAfter > i && before[endBefore - 1] === after[endAfter - 1]) {
      endBefore--;
      endAfter--;
    }
    let j = i;
    while (i < endBefore && j < endAfter) {
      if (before[i] === after[j]) {
        i++;
        j++;
        continue;
      }
      // The nearest place where the two lists meet again: elements were removed here, or inserted.
      let removed = 0;
      let inserted = 0;
      if (endBefore - i > 1 || endAfter - j > 1) {
        const here = before[i];
        const there = after[j];
        const reach = Math.max(endBefore - i, endAfter - j);
        for (let d = 1; d < reach && lookaheads > 0; d++, lookaheads--) {
          if (i + d < endBefore && before[i + d] === there) {
            removed = d;
            break;
          }
          if (j + d < endAfter && after[j + d] === here) {
            inserted = d;
            break;
          }
        }
      }
      if (removed > 0) {
        this.#splice(path, j, before, i, removed, after, j, 0, depth);
        i += removed;
      } else if (inserted > 0) {
        this.#splice(path, j, before, i, 0, after, j, inserted, depth);
        j += inserted;
      } else {
        const at = `${path}/${j}`;
        const value = after[j];
        if (value === undefined) throw notJson(at, 'undefined in a list');
        this.#value(before[i], value, at, depth + 1);
        i++;
        j++;
      }
    }
    if (i < endBefore || j < endAfter) {
      this.#splice(path, j, before, i, endBefore - i, after, j, endAfter - j, depth);
    }
    if (Object.getPrototypeOf(after) !== Array.prototype) throw notJson(path, 'a class instance');
    Object.freeze(after);
  }

  #splice(
    path: string,
    index: number,
    before: unknown[],
    from: number,
    removed: number,
    after: unknown[],
    start: number,
    count: number,
    depth: number,
  ): void {
    for (let i = from; i < from + removed; i++) this.bytesDelta -= sizeOf(before[i]);
    const inserted = after.slice(start, start + count);
    for (let i = 0; i < count; i++) {
      admit(after[start + i], `${path}/${start + i}`, depth + 1);
      this.bytesDelta += sizeOf(inserted[i]);
    }
    this.operations.push([SPLICE, path, index, removed, inserted as Json[]]);
  }

  /** Where several operations came out larger than the value they change, the value replaces them. */
  #preferWhole(first: number, after: unknown, path: string): void {
    if (this.operations.length - first < 2) return;
    let bytes = 0;
    for (let i = first; i < this.operations.length; i++) {
      const operation = this.operations[i]!;
      bytes += 3 + operation[1].length;
      if (operation[0] === SET) bytes += sizeOf(operation[2]);
      else if (operation[0] === SPLICE) bytes += 4 + sizeOf(operation[4]);
    }
    if (sizeOf(after, bytes) + path.length + 3 >= bytes) return;
    this.operations.length = first;
    this.operations.push([SET, path, after as Json]);
  }
}

/**
 * Applies operations to immutable states. Copies each container it changes once, then changes its copy in place, so a
 * replay of thousands of deltas costs one copy a container; {@link Applier.freeze} ends that.
 */
export class Applier {
  /** Change of the estimated size of the state, bytes. */
  bytesDelta = 0;
  readonly #owned = new Set<object>();

  /**
   * The next state. Takes the operations' values over and freezes them.
   *
   * @throws RangeError for an operation that does not fit the state: the log is damaged.
   */
  apply(state: Json | undefined, operations: readonly PatchOperation[]): Json {
    let root = state;
    for (const operation of operations) {
      const path = operation[1];
      if (path === '' && operation[0] === SET) {
        freezeDeep(operation[2]);
        this.bytesDelta += sizeOf(operation[2]) - (root === undefined ? 0 : sizeOf(root));
        root = operation[2];
        continue;
      }
      if (root === undefined) throw new RangeError('an operation changes a state that is not there');
      root = this.#own(root);
      const segments = path === '' ? [] : path.slice(1).split('/');
      const last = operation[0] === SPLICE ? '' : unescapeSegment(segments.pop()!);
      let container = root as { [key: string]: Json };
      for (const segment of segments) {
        const key = unescapeSegment(segment);
        const child = Object.hasOwn(container, key) ? container[key] : undefined;
        if (child === undefined) throw new RangeError(`the state has nothing at ${path}`);
        const copy = this.#own(child);
        if (copy !== child) container[key] = copy;
        container = copy as { [key: string]: Json };
      }
      if (operation[0] === SPLICE) this.#splice(container, operation);
      else this.#member(container, last, operation);
    }
    return root as Json;
  }

  /** Freezes what was copied: the state is immutable from here on. */
  freeze(): void {
    for (const container of this.#owned) Object.freeze(container);
    this.#owned.clear();
  }

  #own(value: Json): Json {
    if (typeof value !== 'object' || value === null)
      throw new RangeError('an operation goes below a plain value');
    if (this.#owned.has(value)) return value;
    const copy = Array.isArray(value) ? value.slice() : { ...value };
    this.#owned.add(copy);
    return copy;
  }

  #member(
    container: { [key: string]: Json },
    key: string,
    operation: Exclude<PatchOperation, [typeof SPLICE, ...unknown[]]>,
  ): void {
    const isList = Array.isArray(container);
    if (Object.hasOwn(container, key)) {
      this.bytesDelta -= sizeOf(container[key]) + (isList ? 0 : key.length + 1);
    } else if (isList || operation[0] === REMOVE) {
      throw new RangeError(`the state has nothing at ${operation[1]}`);
    }
    if (operation[0] === SET) {
      freezeDeep(operation[2]);
      container[key] = operation[2];
      this.bytesDelta += sizeOf(operation[2]) + (isList ? 0 : key.length + 1);
    } else {
      delete container[key];
    }
  }

  #splice(container: unknown, operation: Extract<PatchOperation, [typeof SPLICE, ...unknown[]]>): void {
    const [, path, index, removed, inserted] = operation;
    if (!Array.isArray(container) || index + removed > container.length) {
      throw new RangeError(`the state has no list of ${index + removed} at ${path}`);
    }
    for (let i = index; i < index + removed; i++) this.bytesDelta -= sizeOf(container[i]);
    freezeDeep(inserted);
    for (const value of inserted) this.bytesDelta += sizeOf(value);
    if (inserted.length <= 1_000) {
      container.splice(index, removed, ...inserted);
    } else {
      // In pieces: one call with 100,000 arguments would overflow the stack.
      const tail = container.splice(index);
      for (const value of inserted) container.push(value);
      for (let i = removed; i < tail.length; i++) container.push(tail[i]);
    }
  }
}

/** Freezes what a decoder made; stops at what is frozen already. */
export function freezeDeep(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  if (Array.isArray(value)) for (const element of value) freezeDeep(element);
  else for (const key in value) freezeDeep((value as Members)[key]);
}

/** The operations as a standard RFC 6902 JSON Patch. `state` is what they apply to: it tells `add` from `replace`. */
export function toJsonPatch(
  state: Json | undefined,
  operations: readonly PatchOperation[],
): JsonPatchOperation[] {
  const patch: JsonPatchOperation[] = [];
  const applier = new Applier();
  for (const operation of operations) {
    const path = operation[1];
    if (operation[0] === SET) {
      // On an object `add` also replaces; on a list it would insert, and a SET there always meets an element.
      patch.push({ op: parentIsList(state, path) ? 'replace' : 'add', path, value: operation[2] });
    } else if (operation[0] === REMOVE) {
      patch.push({ op: 'remove', path });
    } else {
      const [, , index, removed, inserted] = operation;
      for (let i = 0; i < removed; i++) patch.push({ op: 'remove', path: `${path}/${index}` });
      for (let i = 0; i < inserted.length; i++) {
        patch.push({ op: 'add', path: `${path}/${index + i}`, value: inserted[i]! });
      }
    }
    state = applier.apply(state, [operation]);
  }
  return patch;
}

function parentIsList(state: Json | undefined, path: string): boolean {
  if (path === '') return false;
  let value: unknown = state;
  for (const segment of path.slice(1).split('/').slice(0, -1))
    value = (value as Members)[unescapeSegment(segment)];
  return Array.isArray(value);
}

/**
 * Bytes of a value, about as msgpack writes it; a value over `limit` may stop short anywhere above it.
 */
export function sizeOf(value: unknown, limit = Number.POSITIVE_INFINITY): number {
  switch (typeof value) {
    case 'string':
      return value.length + (value.length < 32 ? 1 : value.length < 256 ? 2 : 3);
    case 'number':
      if (Number.isInteger(value) && Math.abs(value) < 0x8000_0000) {
        return value >= -32 && value < 128 ? 1 : Math.abs(value) < 0x8000 ? 3 : 5;
      }
      return 9;
    case 'object': {
      if (value === null) return 1;
      let bytes = 3;
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length && bytes <= limit; i++) bytes += sizeOf(value[i], limit - bytes);
      } else {
        for (const key in value) {
          if (bytes > limit) break;
          bytes += key.length + 1 + sizeOf((value as Members)[key], limit - bytes);
        }
      }
      return bytes;
    }
    default:
      return 1;
  }
}

/** Checks that a value is JSON and freezes it. */
function admit(value: unknown, path: string, depth: number): void {
  switch (typeof value) {
    case 'boolean':
      return;
    case 'string':
      // A lone surrogate cannot be written as UTF-8: the log would hold another string than the live state.
      if (!value.isWellFormed()) throw notJson(path, 'a string that is not well-formed Unicode');
      return;
    case 'number':
      if (!Number.isFinite(value)) throw notJson(path, String(value));
      return;
    case 'object': {
      if (value === null) return;
      if (depth > STATE_DEPTH_MAX) throw tooDeep(path);
      if (Array.isArray(value)) {
        if (Object.getPrototypeOf(value) !== Array.prototype) throw notJson(path, 'a class instance');
        for (let i = 0; i < value.length; i++) {
          if (value[i] === undefined) throw notJson(`${path}/${i}`, 'undefined in a list');
          admit(value[i], `${path}/${i}`, depth + 1);
        }
      } else {
        requirePlain(value, path);
        for (const key of Object.keys(value)) {
          const child = (value as Members)[key];
          checkKey(key, path);
          if (child === undefined) dropUndefined(value as Members, key, path);
          else admit(child, member(path, key), depth + 1);
        }
      }
      Object.freeze(value);
      return;
    }
    default:
      throw notJson(path, typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`);
  }
}

/** Throws `state-not-json` unless the value is JSON; freezes it. For initial and upgraded states. */
export function admitState(value: unknown): asserts value is Json {
  if (typeof value !== 'object' || value === null) throw notJson('', 'no object or list');
  admit(value, '', 0);
}

function requirePlain(value: object, path: string): void {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    const name = prototype?.constructor?.name;
    throw notJson(path, name ? `an instance of ${name}` : 'a class instance');
  }
}

/** A member set to undefined is a member that is not there, as JSON has it. */
function dropUndefined(container: Members, key: string, path: string): void {
  if (!Object.isExtensible(container)) throw notJson(member(path, key), 'undefined in a frozen object');
  delete container[key];
}

function checkKey(key: string, path: string): void {
  if (key === '__proto__') throw notJson(path, 'a member called __proto__');
  if (!key.isWellFormed()) throw notJson(path, 'a member whose name is not well-formed Unicode');
}

function member(path: string, key: string): string {
  return `${path}/${key.includes('~') || key.includes('/') ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key}`;
}

function unescapeSegment(segment: string): string {
  return segment.includes('~') ? segment.replaceAll('~1', '/').replaceAll('~0', '~') : segment;
}

function notJson(path: string, what: string): ProblemError {
  const where = path === '' ? 'the state' : `state at ${path}`;
  return new ProblemError('state-not-json', `${where} is ${what}, which JSON cannot hold`, { path });
}

function tooDeep(path: string): ProblemError {
  const detail = `the state nests deeper than ${STATE_DEPTH_MAX}, or holds itself`;
  return new ProblemError('state-not-json', detail, { path: path.slice(0, 200) });
}
