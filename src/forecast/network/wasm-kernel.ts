/**
 * One WebAssembly function, written out here instruction by instruction: a matrix product of 32-bit floats with 128-bit
 * vectors. No compiler and no binary blob is needed for six nested instructions of arithmetic, and the result is the
 * same on every machine: multiplications and additions are apart (no fused ones), in a fixed order.
 *
 * `product(a, b, c, rows, depth, panels, positive)` adds A x B to what C holds. A is `rows x depth`, row-major; B is
 * packed in panels of 8 columns, each `depth x 8`; C is `rows x 8 panels`, row-major. Addresses are bytes. `rows` is a
 * multiple of 4, `depth` of 2. With `positive`, negative sums become 0. Four rows by eight columns are summed in
 * registers: 8 vectors of sums, 2 of B, 1 of A.
 */

/** Rows summed at once. */
export const KERNEL_ROWS = 4;
/** Columns of a panel. */
export const KERNEL_COLUMNS = 8;
/** Steps of depth unrolled. */
export const KERNEL_DEPTH = 2;

export type Product = (
  a: number,
  b: number,
  c: number,
  rows: number,
  depth: number,
  panels: number,
  positive: number,
) => void;

const I32 = 0x7f;
const V128 = 0x7b;
const EMPTY_BLOCK = 0x40;

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const byte = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? byte : byte | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Small non-negative constants only: one more bit than unsigned for the sign. */
function constant(value: number): number[] {
  const bytes = unsigned(value);
  if ((bytes[bytes.length - 1]! & 0x40) !== 0) {
    bytes[bytes.length - 1]! |= 0x80;
    bytes.push(0);
  }
  return [0x41, ...bytes];
}

const get = (local: number) => [0x20, ...unsigned(local)];
const set = (local: number) => [0x21, ...unsigned(local)];
const ADD = [0x6a];
const MULTIPLY = [0x6c];
const LESS = [0x49];
const vector = (code: number) => [0xfd, ...unsigned(code)];
/** Alignment hint 2 (four bytes): rows begin anywhere. */
const load = (offset: number) => [...vector(0x00), 2, ...unsigned(offset)];
const loadSplat = (offset: number) => [...vector(0x09), 2, ...unsigned(offset)];
const store = (offset: number) => [...vector(0x0b), 2, ...unsigned(offset)];
const VECTOR_ADD = vector(0xe4);
const VECTOR_MULTIPLY = vector(0xe6);
/** `b > a ? b : a`, one machine instruction. */
const VECTOR_LARGER = vector(0xeb);
const VECTOR_SPLAT = vector(0x13);
const loop = (body: number[]) => [0x03, EMPTY_BLOCK, ...body, 0x0b];
const when = (body: number[]) => [0x04, EMPTY_BLOCK, ...body, 0x0b];
const AGAIN = [0x0d, 0];

// Parameters, then locals.
const [A, B, C, ROWS, DEPTH, PANELS, POSITIVE] = [0, 1, 2, 3, 4, 5, 6] as const;
const [PANEL, ROW, ROW_BYTES_A, ROW_BYTES_C, PANEL_BYTES, PANEL_B, POINTER_B, END_B] = [
  7, 8, 9, 10, 11, 12, 13, 14,
] as const;
/** Pointers into A and C, one for each of the four rows. */
const pointerA = (row: number) => 15 + row;
const pointerC = (row: number) => 19 + row;
const I32_LOCALS = 16;
const FIRST_VECTOR = 7 + I32_LOCALS;
const sum = (row: number, half: number) => FIRST_VECTOR + 2 * row + half;
const [B0, B1, SPLAT] = [FIRST_VECTOR + 8, FIRST_VECTOR + 9, FIRST_VECTOR + 10] as const;
const VECTOR_LOCALS = 11;
const ROWS4 = [0, 1, 2, 3];
const HALVES = [0, 1];

function body(): number[] {
  const begin = [
    ...get(DEPTH), ...constant(4), ...MULTIPLY, ...set(ROW_BYTES_A),
    ...get(PANELS), ...constant(32), ...MULTIPLY, ...set(ROW_BYTES_C),
    ...get(DEPTH), ...constant(32), ...MULTIPLY, ...set(PANEL_BYTES),
    ...get(B), ...set(PANEL_B),
  ]; // biome-ignore format: one line an assignment
  const firstPointers = [
    ...get(A), ...get(ROW), ...get(ROW_BYTES_A), ...MULTIPLY, ...ADD, ...set(pointerA(0)),
    ...get(C), ...get(ROW), ...get(ROW_BYTES_C), ...MULTIPLY, ...ADD,
    ...get(PANEL), ...constant(32), ...MULTIPLY, ...ADD, ...set(pointerC(0)),
  ]; // biome-ignore format: one line an assignment
  const morePointers = [1, 2, 3].flatMap((row) => [
    ...[...get(pointerA(row - 1)), ...get(ROW_BYTES_A), ...ADD, ...set(pointerA(row))],
    ...[...get(pointerC(row - 1)), ...get(ROW_BYTES_C), ...ADD, ...set(pointerC(row))],
  ]);
  const loadSums = ROWS4.flatMap((row) =>
    HALVES.flatMap((half) => [...get(pointerC(row)), ...load(16 * half), ...set(sum(row, half))]),
  );
  const multiplyAdd = [0, 1].flatMap((unrolled) => [
    ...[...get(POINTER_B), ...load(32 * unrolled), ...set(B0)],
    ...[...get(POINTER_B), ...load(32 * unrolled + 16), ...set(B1)],
    ...ROWS4.flatMap((row) => [
      ...[...get(pointerA(row)), ...loadSplat(4 * unrolled), ...set(SPLAT)],
      ...HALVES.flatMap((half) => [
        ...[...get(sum(row, half)), ...get(SPLAT), ...get(half === 0 ? B0 : B1)],
        ...[...VECTOR_MULTIPLY, ...VECTOR_ADD, ...set(sum(row, half))],
      ]),
    ]),
  ]);
  const advance = [
    ...ROWS4.flatMap((row) => [...get(pointerA(row)), ...constant(8), ...ADD, ...set(pointerA(row))]),
    ...[...get(POINTER_B), ...constant(64), ...ADD, ...set(POINTER_B)],
    ...[...get(POINTER_B), ...get(END_B), ...LESS, ...AGAIN],
  ];
  const cut = when(
    ROWS4.flatMap((row) =>
      HALVES.flatMap((half) => [
        ...[...get(sum(row, half)), 0x43, 0, 0, 0, 0, ...VECTOR_SPLAT],
        ...[...VECTOR_LARGER, ...set(sum(row, half))],
      ]),
    ),
  );
  const storeSums = ROWS4.flatMap((row) =>
    HALVES.flatMap((half) => [...get(pointerC(row)), ...get(sum(row, half)), ...store(16 * half)]),
  );
  const rowLoop = loop([
    ...firstPointers,
    ...morePointers,
    ...loadSums,
    ...[...get(PANEL_B), ...set(POINTER_B)],
    ...[...get(PANEL_B), ...get(PANEL_BYTES), ...ADD, ...set(END_B)],
    ...loop([...multiplyAdd, ...advance]),
    ...[...get(POSITIVE), ...cut],
    ...storeSums,
    ...[...get(ROW), ...constant(4), ...ADD, ...set(ROW)],
    ...[...get(ROW), ...get(ROWS), ...LESS, ...AGAIN],
  ]);
  const panelLoop = loop([
    ...[...constant(0), ...set(ROW)],
    ...rowLoop,
    ...[...get(PANEL_B), ...get(PANEL_BYTES), ...ADD, ...set(PANEL_B)],
    ...[...get(PANEL), ...constant(1), ...ADD, ...set(PANEL)],
    ...[...get(PANEL), ...get(PANELS), ...LESS, ...AGAIN],
  ]);
  return [...begin, ...panelLoop, 0x0b];
}

/** The module: one imported memory, one exported function. */
export function kernelBytes(): Uint8Array<ArrayBuffer> {
  const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content];
  const code = [2, ...unsigned(I32_LOCALS), I32, ...unsigned(VECTOR_LOCALS), V128, ...body()];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 7, I32, I32, I32, I32, I32, I32, I32, 0]),
    ...section(2, [1, ...name('io'), ...name('memory'), 2, 0, 0]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('product'), 0, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}
