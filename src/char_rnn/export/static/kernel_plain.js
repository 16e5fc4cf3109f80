/*
 * The functions of kernel.c in JavaScript, for browsers without WebAssembly SIMD: the same results, bit for bit.
 *
 * Integers below 2^53 are exact in doubles, and Math.fround rounds as single precision does.
 */

const { fround } = Math;
const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer); // of the same number
const EXP = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1].map(fround);
const TANH = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1].map(fround);
const [LOG2_E, LN_2_HIGH, LN_2_LOW, MAGIC] = [1.44269504088896341, 0.693359375, -2.1219444e-4, 12583039].map(fround);

/** The products of rows `first` to `last` of a matrix with a vector. */
export function plainProduct({ stride, scales, values }, x, first, last, result) {
  const { integers, unit } = integersOf(x, stride);
  for (let row = first; row < last; row += 1) {
    let one = 0; // four sums: a processor adds them in parallel
    let two = 0;
    let three = 0;
    let four = 0;
    for (let column = 0, at = row * stride; column < stride; column += 4, at += 4) {
      one += values[at] * integers[column];
      two += values[at + 1] * integers[column + 1];
      three += values[at + 2] * integers[column + 2];
      four += values[at + 3] * integers[column + 3];
    }
    result[row - first] = (one + two + three + four) * unit * scales[row];
  }
}

/** A vector as integers below 2^30 times a power of two, padded with zeros. */
function integersOf(x, length) {
  let largest = 0;
  for (let column = 0; column < x.length; column += 1) largest = Math.max(largest, Math.abs(x[column]));
  FLOAT[0] = largest;
  const exponent = BITS[0] >>> 23;
  BITS[0] = (283 - Math.max(exponent, 29)) << 23;
  const factor = FLOAT[0];
  const integers = new Float64Array(length);
  for (let column = 0; column < x.length; column += 1) integers[column] = Math.trunc(x[column] * factor);
  return { integers, unit: exponent < 255 ? 1 / factor : NaN };
}

export function plainSigmoid(out, x) {
  for (let index = 0; index < x.length; index += 1) out[index] = 1 / fround(1 + exp(-x[index]));
}

export function plainTanh(out, x) {
  for (let index = 0; index < x.length; index += 1) out[index] = tanhOf(x[index]);
}

function exp(x) {
  const least = x < -86 ? -86 : x;
  const bounded = least > 88 ? 88 : least;
  const shifted = fround(fround(bounded * LOG2_E) + MAGIC);
  const n = fround(shifted - MAGIC);
  const r = fround(fround(bounded - fround(n * LN_2_HIGH)) - fround(n * LN_2_LOW));
  const p = fround(fround(fround(polynomial(EXP, r) * fround(r * r)) + r) + 1);
  FLOAT[0] = shifted;
  BITS[0] <<= 23;
  return fround(p * FLOAT[0]);
}

function tanhOf(x) {
  const size = Math.abs(x);
  if (size >= 0.625) {
    const far = fround(1 - fround(2 / fround(exp(fround(2 * size)) + 1)));
    return x < 0 ? -far : far;
  }
  const z = fround(x * x);
  return fround(fround(fround(polynomial(TANH, z) * z) * x) + x);
}

function polynomial(coefficients, x) {
  let p = 0;
  for (const coefficient of coefficients) p = fround(fround(p * x) + coefficient);
  return p;
}
