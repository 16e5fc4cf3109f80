/*
 * The weights, and functions of vectors.
 *
 * A matrix belongs to the kernel: integers from -127 to 127, and a scale for each row. A vector is a Float32Array. All
 * floats come first, little-endian, then all bytes.
 */

import { Kernel } from "./kernel.js";

/** A network's description with arrays in place of their offsets, and the kernel that has its matrices. */
export function withNumbers(described, bytes) {
  const { buffer } = bytes;
  const matrices = new Map(); // offset -> matrix
  walk(described, (place) => "matrix" in place && matrices.set(place.matrix, place));
  const kernel = new Kernel([...matrices.values()]);
  for (const [start, { rows, columns, scales }] of matrices) {
    const values = new Int8Array(buffer, start, rows * columns);
    matrices.set(start, kernel.matrix(rows, columns, new Float32Array(buffer, scales, rows), values));
  }
  const numbers = walk(described, ({ vector, length, matrix }) =>
    vector === undefined ? matrices.get(matrix) : new Float32Array(buffer.slice(vector, vector + 4 * length)),
  );
  return { ...numbers, kernel };
}

/** A description with each offset of an array replaced by `change(offset)`. */
function walk(part, change) {
  if (Array.isArray(part)) return part.map((each) => walk(each, change));
  if (part === null || typeof part !== "object") return part;
  if ("vector" in part || "matrix" in part) return change(part);
  return Object.fromEntries(Object.entries(part).map(([name, each]) => [name, walk(each, change)]));
}

/** The products of rows `first` to `last` of a matrix with a vector, in `result`. */
export function product(matrix, x, first = 0, last = matrix.rows, result = undefined) {
  return matrix.kernel.product(matrix, x, first, last, result);
}

/** A row of a matrix. */
export function rowOf({ columns, stride, scales, values }, row) {
  const result = new Float32Array(columns);
  for (let column = 0, at = row * stride; column < columns; column += 1, at += 1) result[column] = values[at] * scales[row];
  return result;
}

/** Rows `first` to `last` of a column of a matrix, in `result`: its product with a one-hot vector. */
export function columnOf({ stride, scales, values }, column, first, last, result) {
  for (let row = first; row < last; row += 1) result[row - first] = values[row * stride + column] * scales[row];
}

/** The sum of rows `first` to `last` of a matrix, each times its number in `factors`. */
export function combination({ columns, stride, scales, values }, factors, first, last) {
  const result = new Float32Array(columns);
  for (let row = first; row < last; row += 1) {
    const factor = factors[row] * scales[row];
    for (let column = 0, at = row * stride; column < columns; column += 1, at += 1) result[column] += values[at] * factor;
  }
  return result;
}

export function dot(one, other) {
  let total = 0;
  for (let index = 0; index < one.length; index += 1) total += one[index] * other[index];
  return total;
}

export const largestOf = (values) => values.reduce((most, each) => Math.max(most, each), -Infinity);

export function softmax(logits) {
  const largest = largestOf(logits);
  const weights = logits.map((each) => Math.exp(each - largest));
  const total = weights.reduce((sum, each) => sum + each, 0);
  return weights.map((each) => each / total);
}
