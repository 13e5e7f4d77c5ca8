/**
 * WebAssembly functions, written out here instruction by instruction: a matrix product of 32-bit floats with 128-bit
 * vectors. No compiler and no binary blob is needed for six nested instructions of arithmetic, and the result is the
 * same on every machine: multiplications and additions are apart (no fused ones), in a fixed order.
 *
 * `product(a, b, c, rows, depth, panels, positive)` adds A x B to what C holds. A is `rows x depth`, row-major; B is
 * packed in panels of 8 columns, each `depth x 8`; C is `rows x 8 panels`, row-major. Addresses are bytes. `depth` is a
 * multiple of 2. With `positive`, negative sums become 0. There is one for each block that is summed in registers, 8 vectors
 * of sums in all but the last: four rows by one panel, where `rows` is a multiple of 4; one row by four panels, where
 * `panels` is; one by one. All add up in the same order, so which of them does a row changes nothing.
 */

/** Rows, or panels, summed at once. */
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

/** By rows and panels summed at once. */
export interface Products {
  product4x1: Product;
  product1x4: Product;
  product1x1: Product;
}

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
const [PANEL, ROW, ROW_BYTES_A, ROW_BYTES_C, PANEL_BYTES, PANEL_B, END_B] = [
  7, 8, 9, 10, 11, 12, 13,
] as const;
const FIRST_POINTER = 14;
const HALVES = [0, 1];

/** The function that sums a block of so many rows and panels at once. */
function code(rowsAtOnce: number, panelsAtOnce: number): number[] {
  const rows = Array.from({ length: rowsAtOnce }, (_, row) => row);
  const panels = Array.from({ length: panelsAtOnce }, (_, panel) => panel);
  const pointerA = (row: number) => FIRST_POINTER + row;
  const pointerC = (row: number) => FIRST_POINTER + rowsAtOnce + row;
  const pointerB = (panel: number) => FIRST_POINTER + 2 * rowsAtOnce + panel;
  const firstVector = FIRST_POINTER + 2 * rowsAtOnce + panelsAtOnce;
  const sum = (row: number, panel: number, half: number) =>
    firstVector + 2 * (row * panelsAtOnce + panel) + half;
  const [b0, b1, splat] = [0, 1, 2].map((i) => firstVector + 2 * rowsAtOnce * panelsAtOnce + i) as [
    number,
    number,
    number,
  ];
  const sums = rows.flatMap((row) =>
    panels.flatMap((panel) =>
      HALVES.map((half) => ({ row, at: sum(row, panel, half), offset: 32 * panel + 16 * half })),
    ),
  );
  const begin = [
    ...[...get(DEPTH), ...constant(4), ...MULTIPLY, ...set(ROW_BYTES_A)],
    ...[...get(PANELS), ...constant(32), ...MULTIPLY, ...set(ROW_BYTES_C)],
    ...[...get(DEPTH), ...constant(32), ...MULTIPLY, ...set(PANEL_BYTES)],
    ...[...get(B), ...set(PANEL_B)],
  ];
  const pointers = [
    ...[...get(A), ...get(ROW), ...get(ROW_BYTES_A), ...MULTIPLY, ...ADD, ...set(pointerA(0))],
    ...[...get(C), ...get(ROW), ...get(ROW_BYTES_C), ...MULTIPLY, ...ADD],
    ...[...get(PANEL), ...constant(32), ...MULTIPLY, ...ADD, ...set(pointerC(0))],
    ...rows
      .slice(1)
      .flatMap((row) => [
        ...[...get(pointerA(row - 1)), ...get(ROW_BYTES_A), ...ADD, ...set(pointerA(row))],
        ...[...get(pointerC(row - 1)), ...get(ROW_BYTES_C), ...ADD, ...set(pointerC(row))],
      ]),
    ...[...get(PANEL_B), ...set(pointerB(0))],
    ...panels
      .slice(1)
      .flatMap((panel) => [
        ...get(pointerB(panel - 1)),
        ...get(PANEL_BYTES),
        ...ADD,
        ...set(pointerB(panel)),
      ]),
    ...[...get(PANEL_B), ...get(PANEL_BYTES), ...ADD, ...set(END_B)],
  ];
  const loadSums = sums.flatMap(({ row, at, offset }) => [
    ...get(pointerC(row)),
    ...load(offset),
    ...set(at),
  ]);
  const splatOf = (row: number, unrolled: number) => [
    ...[...get(pointerA(row)), ...loadSplat(4 * unrolled), ...set(splat)],
  ];
  const multiplyAdd = [0, 1].flatMap((unrolled) => [
    ...(rowsAtOnce === 1 ? splatOf(0, unrolled) : []),
    ...panels.flatMap((panel) => [
      ...[...get(pointerB(panel)), ...load(32 * unrolled), ...set(b0)],
      ...[...get(pointerB(panel)), ...load(32 * unrolled + 16), ...set(b1)],
      ...rows.flatMap((row) => [
        ...(rowsAtOnce > 1 ? splatOf(row, unrolled) : []),
        ...HALVES.flatMap((half) => [
          ...[...get(sum(row, panel, half)), ...get(splat), ...get(half === 0 ? b0 : b1)],
          ...[...VECTOR_MULTIPLY, ...VECTOR_ADD, ...set(sum(row, panel, half))],
        ]),
      ]),
    ]),
  ]);
  const forward = (pointer: number, bytes: number) => [
    ...[...get(pointer), ...constant(bytes), ...ADD, ...set(pointer)],
  ];
  const advance = [
    ...rows.flatMap((row) => forward(pointerA(row), 8)),
    ...panels.flatMap((panel) => forward(pointerB(panel), 64)),
    ...[...get(pointerB(0)), ...get(END_B), ...LESS, ...AGAIN],
  ];
  const cut = when(
    sums.flatMap(({ at }) => [
      ...[...get(at), 0x43, 0, 0, 0, 0, ...VECTOR_SPLAT],
      ...[...VECTOR_LARGER, ...set(at)],
    ]),
  );
  const storeSums = sums.flatMap(({ row, at, offset }) => [
    ...get(pointerC(row)),
    ...get(at),
    ...store(offset),
  ]);
  const rowLoop = loop([
    ...pointers,
    ...loadSums,
    ...loop([...multiplyAdd, ...advance]),
    ...[...get(POSITIVE), ...cut],
    ...storeSums,
    ...[...get(ROW), ...constant(rowsAtOnce), ...ADD, ...set(ROW)],
    ...[...get(ROW), ...get(ROWS), ...LESS, ...AGAIN],
  ]);
  const panelLoop = loop([
    ...[...constant(0), ...set(ROW)],
    ...rowLoop,
    ...[
      ...get(PANEL_B),
      ...get(PANEL_BYTES),
      ...constant(panelsAtOnce),
      ...MULTIPLY,
      ...ADD,
      ...set(PANEL_B),
    ],
    ...[...get(PANEL), ...constant(panelsAtOnce), ...ADD, ...set(PANEL)],
    ...[...get(PANEL), ...get(PANELS), ...LESS, ...AGAIN],
  ]);
  const integers = firstVector - PANEL;
  const vectors = 2 * rowsAtOnce * panelsAtOnce + 3;
  return [2, ...unsigned(integers), I32, ...unsigned(vectors), V128, ...begin, ...panelLoop, 0x0b];
}

/** The module: one imported memory, the functions of {@link Products}. */
export function kernelBytes(): Uint8Array<ArrayBuffer> {
  const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content];
  const functions = {
    product4x1: code(KERNEL_ROWS, 1),
    product1x4: code(1, KERNEL_ROWS),
    product1x1: code(1, 1),
  } satisfies Record<keyof Products, number[]>;
  const names = Object.keys(functions);
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 7, I32, I32, I32, I32, I32, I32, I32, 0]),
    ...section(2, [1, ...name('io'), ...name('memory'), 2, 0, 0]),
    ...section(3, [names.length, ...names.map(() => 0)]),
    ...section(7, [names.length, ...names.flatMap((one, i) => [...name(one), 0, i])]),
    ...section(10, [
      names.length,
      ...Object.values(functions).flatMap((bytes) => [...unsigned(bytes.length), ...bytes]),
    ]),
  ]);
}
