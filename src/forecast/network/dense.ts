/**
 * Dense layers over batches: one block of memory with packed weights and the rows under way, and the product that works
 * on it, in WebAssembly vectors or, where those are missing (`--jitless`, or asked for), in plain JavaScript.
 *
 * Invariants: columns and depth are padded with zeros to what the kernel takes, and callers never see the padding; the
 * memory is allotted once; a row's sums are the same whatever rows are beside it.
 */
import {
  KERNEL_COLUMNS,
  KERNEL_DEPTH,
  KERNEL_ROWS,
  kernelBytes,
  type Product,
  type Products,
} from './wasm-kernel.ts';

const PAGE_BYTES = 65_536;

export type Runtime = 'wasm' | 'plain';

export const paddedColumns = (columns: number) => Math.ceil(columns / KERNEL_COLUMNS) * KERNEL_COLUMNS;
export const paddedDepth = (depth: number) => Math.ceil(depth / KERNEL_DEPTH) * KERNEL_DEPTH;

/** A matrix packed for the kernel, in the workspace. */
export interface PackedMatrix {
  at: number;
  depth: number;
  columns: number;
}

/** Rows in the workspace: `values[at + row * width + i]`. */
export interface RowBuffer {
  at: number;
  width: number;
}

/** The part used here of what the platform offers; the project compiles without a browser's types. */
interface Wasm {
  Memory: new (size: { initial: number }) => { buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: { io: { memory: object } }) => { exports: Products };
}

const wasm = (globalThis as { WebAssembly?: Wasm }).WebAssembly;
let compiled: object | undefined;

/** The memory of one network and the product on it. Addresses are in numbers, not bytes. */
export class DenseWorkspace {
  readonly values: Float32Array;
  readonly runtime: Runtime;
  readonly #product: Product;
  #used = 0;

  constructor(numbers: number, runtime?: Runtime) {
    this.runtime = runtime ?? (wasm === undefined ? 'plain' : 'wasm');
    if (this.runtime === 'wasm') {
      if (wasm === undefined)
        throw new Error('this platform has no WebAssembly; the runtime plain does without');
      const memory = new wasm.Memory({ initial: Math.ceil((numbers * 4) / PAGE_BYTES) });
      compiled ??= new wasm.Module(kernelBytes());
      const instance = new wasm.Instance(compiled, { io: { memory } });
      this.#product = productOf(instance.exports);
      this.values = new Float32Array(memory.buffer);
    } else {
      const values = new Float32Array(numbers);
      this.values = values;
      this.#product = (a, b, c, rows, depth, panels, positive) =>
        plainProduct(values, a / 4, b / 4, c / 4, rows, depth, panels, positive);
    }
  }

  #allot(numbers: number): number {
    const at = this.#used;
    // Vectors begin on a cache line.
    this.#used += Math.ceil(numbers / 16) * 16;
    if (this.#used > this.values.length)
      throw new Error(`the workspace holds ${this.values.length} numbers, ${this.#used} are needed`);
    return at;
  }

  /** Packs a row-major `depth x columns` matrix. */
  pack(matrix: Float32Array, depth: number, columns: number): PackedMatrix {
    const deep = paddedDepth(depth);
    const panels = paddedColumns(columns) / KERNEL_COLUMNS;
    const at = this.#allot(deep * panels * KERNEL_COLUMNS);
    for (let row = 0; row < depth; row++)
      for (let column = 0; column < columns; column++) {
        const panel = Math.floor(column / KERNEL_COLUMNS);
        this.values[at + (panel * deep + row) * KERNEL_COLUMNS + (column % KERNEL_COLUMNS)] =
          matrix[row * columns + column]!;
      }
    return { at, depth: deep, columns: panels * KERNEL_COLUMNS };
  }

  /** A row as long as a packed matrix is wide. */
  vector(values: Float32Array, columns = values.length): Float32Array {
    const at = this.#allot(paddedColumns(columns));
    this.values.set(values, at);
    return this.values.subarray(at, at + paddedColumns(columns));
  }

  rows(rows: number, width: number): RowBuffer {
    return { at: this.#allot(rows * width), width };
  }

  /** Adds `input x matrix` to what `output` holds, for the first `rows` rows. */
  multiply(input: RowBuffer, matrix: PackedMatrix, output: RowBuffer, rows: number, positive: boolean): void {
    const panels = matrix.columns / KERNEL_COLUMNS;
    this.#product(input.at * 4, matrix.at * 4, output.at * 4, rows, matrix.depth, panels, positive ? 1 : 0);
  }
}

/** Four rows at once, and those that are left one by one: for one row alone that is a quarter of the work. */
function productOf({ product4x1, product1x4, product1x1 }: Products): Product {
  return (a, b, c, rows, depth, panels, positive) => {
    const together = rows - (rows % KERNEL_ROWS);
    if (together > 0) product4x1(a, b, c, together, depth, panels, positive);
    const wide = panels - (panels % KERNEL_ROWS);
    for (let row = together; row < rows; row++) {
      const from = a + 4 * row * depth;
      const to = c + 4 * row * panels * KERNEL_COLUMNS;
      if (wide > 0) product1x4(from, b, to, 1, depth, wide, positive);
      for (let panel = wide; panel < panels; panel++) {
        const panelAt = 4 * panel * KERNEL_COLUMNS;
        product1x1(from, b + depth * panelAt, to + panelAt, 1, depth, 1, positive);
      }
    }
  };
}

/** What the kernel does, said plainly; also its twin in the tests. Sums in 32 bits, in the kernel's order. */
export function plainProduct(
  values: Float32Array,
  a: number,
  b: number,
  c: number,
  rows: number,
  depth: number,
  panels: number,
  positive: number,
): void {
  const columns = panels * KERNEL_COLUMNS;
  for (let panel = 0; panel < panels; panel++)
    for (let row = 0; row < rows; row++)
      for (let j = 0; j < KERNEL_COLUMNS; j++) {
        const at = c + row * columns + panel * KERNEL_COLUMNS + j;
        const from = b + panel * depth * KERNEL_COLUMNS + j;
        let sum = values[at]!;
        for (let k = 0; k < depth; k++)
          sum = Math.fround(
            sum + Math.fround(values[a + row * depth + k]! * values[from + k * KERNEL_COLUMNS]!),
          );
        values[at] = positive !== 0 && sum < 0 ? 0 : sum;
      }
}
