/* A step of each cell, as the equations of the engine's reference read. */

import { product } from "./tensors.js";

const EPSILON = 1e-5;

export const sigmoid = (a) => 1 / (1 + Math.exp(-a));

/** To mean 0 and variance 1, times the gain; no gain leaves it. */
export function scaled(x, gain) {
  if (!gain) return x;
  let mean = 0;
  for (const value of x) mean += value;
  mean /= x.length;
  let variance = 0;
  for (const value of x) variance += (value - mean) ** 2;
  const deviation = Math.sqrt(variance / x.length + EPSILON);
  return x.map((value, index) => ((value - mean) / deviation) * gain[index]);
}

/** As `scaled`, plus the bias. */
export function normalized(x, norm) {
  return norm ? sum(scaled(x, norm.gain), norm.bias) : x;
}

export function sum(one, other) {
  return one.map((value, index) => value + other[index]);
}

/** What a layer's input adds to the arguments of its gates. */
export function inputArguments(cell, layer, rows) {
  const hidden = layer.weight_hh.columns;
  const both = sum(layer.bias_ih, layer.bias_hh);
  if (cell === "rnn") return layer.gains.gain ? rows : sum(rows, both);
  const gain = layer.gains.gain_ih;
  if (cell === "lstm") return sum(scaled(rows, gain), both);
  const cut = 2 * hidden;
  if (cell === "gru_after") both.set(layer.bias_ih.subarray(cut), cut);
  const rz = scaled(rows.subarray(0, cut), gain?.subarray(0, cut)); // normalized together, n alone
  return sum(joined(rz, scaled(rows.subarray(cut), gain?.subarray(cut))), both);
}

/** The new h and, of an LSTM, the new c. */
export function stepOf(cell, layer, a, h, c) {
  if (cell === "lstm") return lstm(layer, a, h, c);
  if (cell === "rnn") return [rnn(layer, a, h)];
  return [gru(layer, a, h, cell === "gru_before")];
}

function lstm({ weight_hh, gains }, a, h, c) {
  const hidden = h.length;
  const args = sum(a, scaled(product(weight_hh, h), gains.gain_hh));
  const gate = (number, unit) => args[number * hidden + unit];
  const newC = c.map((old, unit) => sigmoid(gate(1, unit)) * old + sigmoid(gate(0, unit)) * Math.tanh(gate(2, unit)));
  const shown = gains.gain_c ? sum(scaled(newC, gains.gain_c), gains.bias_c) : newC;
  return [shown.map((value, unit) => sigmoid(gate(3, unit)) * Math.tanh(value)), newC];
}

function gru({ weight_hh, bias_hh, gains }, a, h, before) {
  const hidden = h.length;
  const cut = 2 * hidden;
  const gain = gains.gain_hh;
  const rz = sum(a.subarray(0, cut), scaled(product(weight_hh, h, 0, cut), gain?.subarray(0, cut))).map(sigmoid);
  const read = before ? h.map((value, unit) => rz[unit] * value) : h;
  let ofN = scaled(product(weight_hh, read, cut), gain?.subarray(cut));
  if (!before) ofN = ofN.map((value, unit) => rz[unit] * (value + bias_hh[cut + unit]));
  return h.map((old, unit) => {
    const n = Math.tanh(a[cut + unit] + ofN[unit]);
    return n + rz[hidden + unit] * (old - n);
  });
}

function rnn({ weight_hh, bias_ih, bias_hh, gains }, a, h) {
  let args = sum(a, product(weight_hh, h));
  if (gains.gain) args = sum(scaled(args, gains.gain), sum(bias_ih, bias_hh));
  return args.map(Math.tanh);
}

function joined(one, other) {
  const result = new Float32Array(one.length + other.length);
  result.set(one);
  result.set(other, one.length);
  return result;
}
