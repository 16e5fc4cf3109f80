/*
 * The weights, from their text to numbers.
 *
 * A matrix is {rows, columns, scales, values}: whole numbers from -127 to 127, each row with its scale. A vector is a
 * Float32Array. The file holds all floats first, little-endian, then all bytes.
 */

/** The bytes of a text in base64. */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

/** A description with numbers in the place of what says where they are. */
export function withNumbers(part, bytes) {
  if (Array.isArray(part)) return part.map((each) => withNumbers(each, bytes));
  if (part === null || typeof part !== "object") return part;
  const { buffer } = bytes;
  if ("vector" in part) return new Float32Array(buffer, part.vector, part.length);
  if ("matrix" in part) {
    const { rows, columns } = part;
    const values = new Int8Array(buffer, part.matrix, rows * columns);
    return { rows, columns, scales: new Float32Array(buffer, part.scales, rows), values };
  }
  return Object.fromEntries(Object.entries(part).map(([name, each]) => [name, withNumbers(each, bytes)]));
}

/** The products of rows `first` to `last` of a matrix with a vector. */
export function product({ rows, columns, scales, values }, x, first = 0, last = rows) {
  const result = new Float32Array(last - first);
  const even = columns - (columns % 4);
  for (let row = first, at = first * columns; row < last; row += 1) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let column = 0;
    for (; column < even; column += 4, at += 4) {
      a += values[at] * x[column];
      b += values[at + 1] * x[column + 1];
      c += values[at + 2] * x[column + 2];
      d += values[at + 3] * x[column + 3];
    }
    for (; column < columns; column += 1, at += 1) a += values[at] * x[column];
    result[row - first] = (a + b + c + d) * scales[row];
  }
  return result;
}

/** A row of a matrix. */
export function rowOf({ columns, scales, values }, row) {
  const result = new Float32Array(columns);
  for (let column = 0, at = row * columns; column < columns; column += 1, at += 1) result[column] = values[at] * scales[row];
  return result;
}

/** A column of a matrix: what it makes of a one-hot vector. */
export function columnOf({ rows, columns, scales, values }, column) {
  const result = new Float32Array(rows);
  for (let row = 0, at = column; row < rows; row += 1, at += columns) result[row] = values[at] * scales[row];
  return result;
}

/** Add rows `first` to `last` of a matrix, each times its number in `factors`, to nothing. */
export function combination({ columns, scales, values }, factors, first, last) {
  const result = new Float32Array(columns);
  for (let row = first, at = first * columns; row < last; row += 1) {
    const factor = factors[row] * scales[row];
    for (let column = 0; column < columns; column += 1, at += 1) result[column] += values[at] * factor;
  }
  return result;
}
