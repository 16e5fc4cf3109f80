/* A model's forward pass, one symbol at a time: the blocks around the cells, and what a stream remembers. */

import { columnOf, combination, product, rowOf } from "./tensors.js";
import { inputArguments, normalized, sigmoid, stepOf, sum } from "./recurrent.js";

const LARGEST_TABLE = 1 << 22; // numbers

export class Network {
  /** `parts`: the engine's `Network`, its arrays as in tensors.js. */
  constructor(parts) {
    Object.assign(this, parts);
    this.layers = parts.layers.map((layer) => ({
      ...layer,
      ...layer.parameters,
      gains: layer.parameters,
      mogrifier: Object.keys(layer.parameters)
        .filter((name) => name.startsWith("mogrifier_"))
        .map((name) => layer.parameters[name]),
    }));
    this.vocabSize = this.output_bias.length;
    this.table = new Map(); // symbol -> what it adds to the arguments of the lowest layer's gates
  }

  /** What a text remembers at its beginning. */
  begin() {
    const zeros = (length) => new Float32Array(length);
    const windows = this.layers.filter(({ attention }) => attention).map(({ attention }) => attention.window);
    return {
      h: this.layers.map(() => zeros(this.hidden_size)),
      c: this.layers.map(() => zeros(this.hidden_size)),
      rings: windows.map((window) => Array.from({ length: window + 1 }, () => zeros(this.hidden_size))),
      place: 0,
    };
  }

  /** Read a symbol: the log-probabilities of the next. */
  step(state, symbol) {
    const x = this.feed(state, symbol);
    return logSoftmax(sum(product(this.output_weight, normalized(x, this.output_norm)), this.output_bias));
  }

  /** Read a symbol, without predicting anything. */
  feed(state, symbol) {
    let x = null;
    let attending = 0;
    this.layers.forEach((layer, number) => {
      const [argument, input] = number ? [null, x] : this.#read(layer, symbol);
      const output = this.#recur(layer, number, input, argument, state);
      x = layer.residual ? sum(input, output) : output;
      if (layer.attention) {
        const ring = state.rings[attending];
        const place = state.place % ring.length;
        ring[place] = normalized(x, layer.attention.norm);
        x = sum(x, attend(layer.attention, ring, ring[place]));
        attending += 1;
      }
      if (layer.feed_forward) x = sum(x, feedForward(layer.feed_forward, x));
    });
    state.place += 1;
    return x;
  }

  /** The lowest layer's part of the gates' arguments, where the symbol alone decides it, and its input, where needed. */
  #read(layer, symbol) {
    const tabled = !layer.mogrifier.length;
    const input = () => (this.embedding ? rowOf(this.embedding, symbol) : oneHot(this.vocabSize, symbol));
    if (!tabled) return [null, input()];
    let argument = this.table.get(symbol);
    if (!argument) {
      const plain = !this.embedding && !layer.norm;
      const rows = plain ? columnOf(layer.weight_ih, symbol) : product(layer.weight_ih, normalized(input(), layer.norm));
      argument = inputArguments(this.cell, layer, rows);
      if (this.table.size * argument.length < LARGEST_TABLE) this.table.set(symbol, argument);
    }
    return [argument, layer.residual ? input() : null];
  }

  #recur(layer, number, x, argument, state) {
    const h = state.h[number];
    let [read, readH] = [argument ? null : normalized(x, layer.norm), h];
    layer.mogrifier.forEach((matrix, index) => {
      if (index % 2 === 0) read = gated(product(matrix, readH), read);
      else readH = gated(product(matrix, read), readH);
    });
    const args = argument ?? inputArguments(this.cell, layer, product(layer.weight_ih, read));
    const [newH, newC] = stepOf(this.cell, layer, args, readH, state.c[number]);
    if (newC) state.c[number] = updated(state.c[number], newC, this.update);
    state.h[number] = updated(h, newH, this.update);
    return state.h[number];
  }
}

export function logSoftmax(scores) {
  const largest = scores.reduce((most, each) => Math.max(most, each), -Infinity);
  const total = scores.reduce((all, each) => all + Math.exp(each - largest), 0);
  const logTotal = Math.log(total);
  return scores.map((each) => each - largest - logTotal);
}

function oneHot(length, place) {
  const vector = new Float32Array(length);
  vector[place] = 1;
  return vector;
}

const gated = (by, what) => what.map((value, index) => 2 * sigmoid(by[index]) * value);

const updated = (old, made, update) => (update === 1 ? made : old.map((value, unit) => value + update * (made[unit] - value)));

/** What a state finds in the ring it is in; keys and values are never made. */
function attend({ query, key, value, output, heads }, ring, x) {
  const size = key.rows / heads;
  const asked = product(query, x);
  const found = new Float32Array(key.rows);
  for (let head = 0; head < heads; head += 1) {
    const [first, last] = [head * size, (head + 1) * size];
    const question = combination(key, asked, first, last);
    const scores = Float64Array.from(ring, (past) => dot(question, past) / Math.sqrt(size));
    found.set(product(value, mean(ring, scores), first, last), first);
  }
  return product(output, found);
}

function dot(one, other) {
  let total = 0;
  for (let index = 0; index < one.length; index += 1) total += one[index] * other[index];
  return total;
}

/** The mean of vectors, weighted by the softmax of scores. */
function mean(vectors, scores) {
  const largest = scores.reduce((most, each) => Math.max(most, each), -Infinity);
  const weights = scores.map((each) => Math.exp(each - largest));
  const total = weights.reduce((all, each) => all + each, 0);
  const result = new Float64Array(vectors[0].length);
  vectors.forEach((vector, number) => {
    const weight = weights[number] / total;
    for (let index = 0; index < result.length; index += 1) result[index] += weight * vector[index];
  });
  return Float32Array.from(result);
}

function feedForward({ norm, widen, widen_bias, narrow, narrow_bias }, x) {
  const wide = sum(product(widen, normalized(x, norm)), widen_bias);
  return sum(product(narrow, wide.map((value) => (value / 2) * (1 + erf(value / Math.SQRT2)))), narrow_bias);
}

/** The error function, by a series whose terms are all positive. */
export function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x); // to less than float32's rounding
  let [total, term] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-12 * Math.abs(total); n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}
