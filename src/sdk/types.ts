/** Type-level rules of the SDK: what may be state, and what a value looks like after a trip through JSON. */

type NeverJson =
  | ((...args: never) => unknown)
  | Date
  | RegExp
  | Promise<unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBuffer
  | ArrayBufferView
  | Error
  | bigint
  | symbol;

/** The parts of a type that JSON cannot hold; `never` where all of it is JSON. Optional members are fine. */
export type NotJson<T> = unknown extends T
  ? never
  : T extends string | number | boolean | null | undefined
    ? never
    : T extends NeverJson
      ? T
      : T extends readonly (infer Element)[]
        ? NotJson<Element>
        : T extends object
          ? { [Member in keyof T]-?: NotJson<T[Member]> }[keyof T]
          : T;

/** Nothing where T is JSON; else a type that no function has, so that the compiler names the culprit. */
export type RequireJson<T> = [NotJson<T>] extends [never]
  ? unknown
  : { 'the state is not JSON because it contains': NotJson<T> };

/** What a caller receives when a handler returns T: a Date arrives as a string, nothing as undefined. */
export type OverJson<T> = unknown extends T
  ? unknown
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends void
      ? undefined
      : T extends { toJSON(): infer Replaced }
        ? OverJson<Replaced>
        : T extends NeverJson
          ? never
          : T extends readonly unknown[]
            ? { [Index in keyof T]: OverJson<T[Index]> }
            : T extends object
              ? {
                  [Member in keyof T as T[Member] extends NeverJson & { toJSON?: never }
                    ? never
                    : Member]: OverJson<T[Member]>;
                }
              : never;

/** A query sees the state, and the compiler as well as the runtime keep it from changing it. */
export type DeepReadonly<T> = T extends string | number | boolean | null | undefined
  ? T
  : { readonly [Member in keyof T]: DeepReadonly<T[Member]> };
