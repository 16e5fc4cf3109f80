/*
 * Products of 8-bit matrices with vectors, by WebAssembly SIMD if the browser has it.
 *
 * Memory layout: the vector to multiply with, the result, then the matrices (scales, then rows; each row is padded with
 * zeros to a multiple of LANES).
 */

const LANES = 16;
const PAGE = 65536; // bytes
const rounded = (count) => Math.ceil(count / LANES) * LANES;

export class Kernel {
  /** `shapes`: {rows, columns} of all matrices. */
  constructor(shapes) {
    const widest = Math.max(...shapes.map(({ columns }) => rounded(columns)));
    const tallest = Math.max(...shapes.map(({ rows }) => rounded(rows)));
    const sizes = shapes.map(({ rows, columns }) => 4 * rounded(rows) + rows * rounded(columns));
    this.end = 4 * (widest + tallest);
    this.#open(sizes.reduce((sum, each) => sum + each, this.end));
    this.x = new Float32Array(this.buffer, 0, widest);
    this.y = new Float32Array(this.buffer, 4 * widest, tallest);
  }

  /** Store a matrix: its scales, and its rows without padding. */
  matrix(rows, columns, scales, values) {
    const stride = rounded(columns);
    const at = this.end + 4 * rounded(rows);
    const matrix = {
      kernel: this,
      rows,
      columns,
      stride,
      at,
      scales: new Float32Array(this.buffer, this.end, rows),
      values: new Int8Array(this.buffer, at, rows * stride),
    };
    matrix.scales.set(scales);
    for (let row = 0; row < rows; row += 1) {
      matrix.values.set(values.subarray(row * columns, (row + 1) * columns), row * stride);
    }
    this.end = at + rows * stride;
    return matrix;
  }

  /** Write the products of rows `first` to `last` of a matrix with a vector into `result`. */
  product(matrix, x, first, last, result = new Float32Array(last - first)) {
    if (!this.run) return slowProduct(matrix, x, first, last, result);
    const { at, stride, scales } = matrix;
    this.x.set(x);
    this.x.fill(0, x.length, stride);
    this.run(at + first * stride, scales.byteOffset + 4 * first, this.x.byteOffset, this.y.byteOffset, last - first, stride);
    result.set(this.y.subarray(0, last - first));
    return result;
  }

  #open(size) {
    try {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(size / PAGE) });
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assembled()), { page: { memory } });
      this.run = exports.product;
      this.buffer = memory.buffer;
    } catch {
      this.run = null; // an old browser, or one that forbids WebAssembly
      this.buffer = new ArrayBuffer(size);
    }
  }
}

function slowProduct({ stride, columns, scales, values }, x, first, last, result) {
  for (let row = first; row < last; row += 1) {
    let total = 0;
    for (let column = 0, at = row * stride; column < columns; column += 1, at += 1) total += values[at] * x[column];
    result[row - first] = total * scales[row];
  }
  return result;
}

/* The module has one function, product(row, scale, x, y, rows, stride); the first four are addresses. */
function assembled() {
  const [ROW, SCALE, X, Y, ROWS, STRIDE, END, X_NOW, VALUES, HALF, SUM] = Array.from({ length: 11 }, (_, local) => local);
  const sum = (part) => SUM + part;
  const get = (local) => [0x20, local];
  const set = (local, ...value) => [...value.flat(), 0x21, local];
  const int = (value) => [0x41, value]; // below 64
  const step = (local, by) => set(local, get(local), int(by), 0x6a);
  const simd = (code, ...rest) => [0xfd, ...(code < 128 ? [code] : [code, 1]), ...rest];
  const load = (address, offset) => [...get(address), ...simd(0x00, 0, offset)];
  const LOW = { toInt16: simd(0x87), toInt32: simd(0xa7) };
  const HIGH = { toInt16: simd(0x88), toInt32: simd(0xa8) };
  const add = simd(0xe4);
  const addProduct = (part, { toInt32 }) =>
    set(sum(part), get(sum(part)), get(HALF), toInt32, simd(0xfa), load(X_NOW, 16 * part), simd(0xe6), add);
  const lane = (number) => [...get(sum(0)), ...simd(0x1f, number)];
  const whileTrue = (...body) => [0x03, 0x40, ...body.flat(), 0x0d, 0, 0x0b];
  const body = [
    ...whileTrue(
      [0, 1, 2, 3].flatMap((part) => set(sum(part), simd(0x0c, ...new Array(16).fill(0)))),
      set(X_NOW, get(X)),
      set(END, get(ROW), get(STRIDE), 0x6a),
      whileTrue(
        set(VALUES, load(ROW, 0)),
        set(HALF, get(VALUES), LOW.toInt16),
        addProduct(0, LOW),
        addProduct(1, HIGH),
        set(HALF, get(VALUES), HIGH.toInt16),
        addProduct(2, LOW),
        addProduct(3, HIGH),
        step(ROW, 16),
        step(X_NOW, 32),
        step(X_NOW, 32),
        get(ROW),
        get(END),
        0x49, // row < end
      ),
      set(sum(0), get(sum(0)), get(sum(1)), add, get(sum(2)), add, get(sum(3)), add),
      get(Y),
      lane(0),
      lane(1),
      0x92,
      lane(2),
      0x92,
      lane(3),
      0x92,
      get(SCALE),
      [0x2a, 2, 0], // a float
      0x94,
      [0x38, 2, 0], // stored at y
      step(SCALE, 4),
      step(Y, 4),
      set(ROWS, get(ROWS), int(1), 0x6b),
      get(ROWS),
    ),
    0x0b,
  ];
  const text = (word) => [word.length, ...new TextEncoder().encode(word)];
  const section = (number, ...content) => [number, ...leb(content.length), ...content];
  const code = [2, 2, 0x7f, 6, 0x7b, ...body]; // locals: END and X_NOW, then VALUES, HALF and four sums
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 6, ...new Array(6).fill(0x7f), 0),
    ...section(2, 1, ...text("page"), ...text("memory"), 2, 0, 0),
    ...section(3, 1, 0),
    ...section(7, 1, ...text("product"), 0, 0),
    ...section(10, 1, ...leb(code.length), ...code),
  );
}

/** A number from 0 to 16383 as LEB128 in two bytes. */
const leb = (number) => [(number & 127) | 128, number >> 7];
