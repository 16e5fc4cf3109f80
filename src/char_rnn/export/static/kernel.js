/*
 * The model's matrices and most of its arithmetic: by WebAssembly SIMD (kernel.c) or, without it, kernel_plain.js.
 *
 * Memory layout: a vector to read, its integers, the result, then the matrices (scales, then rows; each row is padded
 * with zeros to a multiple of LANES).
 */

import { BINARY } from "./kernel_binary.js";
import { plainProduct, plainSigmoid, plainTanh } from "./kernel_plain.js";

const LANES = 16;
const PAGE = 65536; // bytes
const SPAN = 1024; // numbers of a vector that sigmoid and tanh read at once
const rounded = (count) => Math.ceil(count / LANES) * LANES;

/** The bytes of a text in base64. */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

export class Kernel {
  /** `shapes`: {rows, columns} of all matrices. */
  constructor(shapes) {
    const widest = Math.max(SPAN, ...shapes.map(({ columns }) => rounded(columns)));
    const tallest = Math.max(SPAN, ...shapes.map(({ rows }) => rounded(rows)));
    const sizes = shapes.map(({ rows, columns }) => 4 * rounded(rows) + rows * rounded(columns));
    this.end = 4 * (2 * widest + tallest);
    this.#open(sizes.reduce((sum, each) => sum + each, this.end));
    this.x = new Float32Array(this.buffer, 0, widest);
    this.integers = 4 * widest;
    this.y = new Float32Array(this.buffer, 8 * widest, tallest);
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
    if (!this.run) {
      plainProduct(matrix, x, first, last, result);
      return result;
    }
    const { at, stride, scales } = matrix;
    this.x.set(x);
    this.x.fill(0, x.length, stride);
    const [row, scale] = [at + first * stride, scales.byteOffset + 4 * first];
    this.run.product(row, scale, this.x.byteOffset, this.integers, this.y.byteOffset, last - first, stride);
    result.set(this.y.subarray(0, last - first));
    return result;
  }

  sigmoid(out, x) {
    if (this.run) this.#each(this.run.sigmoid, out, x);
    else plainSigmoid(out, x);
  }

  tanh(out, x) {
    if (this.run) this.#each(this.run.tanh, out, x);
    else plainTanh(out, x);
  }

  #each(run, out, x) {
    for (let start = 0; start < x.length; start += SPAN) {
      const part = x.subarray(start, start + SPAN);
      this.x.set(part);
      run(this.x.byteOffset, this.y.byteOffset, Math.ceil(part.length / 4));
      out.set(this.y.subarray(0, part.length), start);
    }
  }

  #open(size) {
    try {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(size / PAGE) });
      this.run = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(BINARY)), { env: { memory } }).exports;
      this.buffer = memory.buffer;
    } catch {
      this.run = null; // an old browser, or one that forbids WebAssembly
      this.buffer = new ArrayBuffer(size);
    }
  }
}
