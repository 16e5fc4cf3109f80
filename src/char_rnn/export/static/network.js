/* A model's forward pass, one symbol at a time: the blocks around the cells, and the state of a stream. */

import { combination, dot, largestOf, product, rowOf, softmax } from "./tensors.js";
import { Recurrent, normalized, sum } from "./recurrent.js";

const LARGEST_TABLE = 1 << 22; // numbers

export class Network {
  /** `parts`: fields of the engine's `Network`, with arrays as in tensors.js, and the kernel. */
  constructor(parts) {
    Object.assign(this, parts);
    this.layers = parts.layers.map((layer) => ({ ...layer, recurrent: new Recurrent(layer.step, layer.parameters, this.kernel) }));
    this.vocabSize = this.output_bias.length;
    this.table = new Map(); // symbol -> what the lowest layer computes from it
  }

  /** The state at the beginning of a text; the first part of a layer's state is its output. */
  begin() {
    const windows = this.layers.filter(({ attention }) => attention).map(({ attention }) => attention.window);
    const ring = (window) => Array.from({ length: window + 1 }, () => new Float32Array(this.hidden_size));
    return { cells: this.layers.map(({ recurrent }) => recurrent.begin()), rings: windows.map(ring), place: 0, history: [] };
  }

  /** Read a symbol and return the log-probabilities of the next. */
  step(state, symbol) {
    const x = this.feed(state, symbol);
    return logSoftmax(sum(product(this.output_weight, normalized(x, this.output_norm)), this.output_bias));
  }

  /** Read a symbol without predictions. */
  feed(state, symbol) {
    let x = this.matches ? this.#matched(state.history, symbol) : null;
    let attending = 0;
    this.layers.forEach((layer, number) => {
      if (number) layer.recurrent.read(normalized(x, layer.norm));
      else if (x) layer.recurrent.read(normalized(x, layer.norm));
      else this.#read(layer, symbol);
      const output = layer.recurrent.step(state.cells[number]);
      x = layer.residual ? sum(x ?? this.#vector(symbol), output) : output;
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

  #vector(symbol) {
    return this.embedding ? rowOf(this.embedding, symbol) : oneHot(this.vocabSize, symbol);
  }

  /** Add a symbol to the history; the sum of its vector and those of what followed the last occurrences of the last symbols. */
  #matched(history, symbol) {
    const { tables, lengths, window } = this.matches;
    history.push(symbol);
    if (history.length > window + 1) history.shift();
    let end = history.length - 2; // a longer match is not later than a shorter one
    return tables.reduce((x, table, number) => {
      end = latestEnd(history, lengths[number], end);
      return sum(x, rowOf(table, end < 0 ? 0 : history[end + 1] + 1));
    }, this.#vector(symbol));
  }

  /** Read a symbol in the lowest layer; the result is computed once for each symbol, if it fits into the table. */
  #read({ recurrent, norm }, symbol) {
    const known = this.table.get(symbol);
    if (known) {
      recurrent.give(known);
      return;
    }
    recurrent.read(normalized(this.#vector(symbol), norm), this.embedding || norm ? null : symbol);
    const given = recurrent.given();
    const size = given.reduce((total, { length }) => total + length, 0);
    if (this.table.size * size < LARGEST_TABLE) this.table.set(symbol, given);
  }
}

function logSoftmax(scores) {
  const largest = largestOf(scores);
  const total = scores.reduce((all, each) => all + Math.exp(each - largest), 0);
  const logTotal = Math.log(total);
  return scores.map((each) => each - largest - logTotal);
}

/** The end of the last occurrence of the last `length` symbols that ends at `limit` or before; -1 if there is none. */
function latestEnd(history, length, limit) {
  const last = history.length - 1;
  for (let end = limit; end >= length - 1; end -= 1) {
    let same = 0;
    while (same < length && history[end - same] === history[last - same]) same += 1;
    if (same === length) return end;
  }
  return -1;
}

function oneHot(length, place) {
  const vector = new Float32Array(length);
  vector[place] = 1;
  return vector;
}

/** Attention of a state to the ring that contains it, without computing keys and values. */
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

/** The mean of vectors, weighted by the softmax of scores. */
function mean(vectors, scores) {
  const weights = softmax(scores);
  const result = new Float64Array(vectors[0].length);
  vectors.forEach((vector, number) => {
    for (let index = 0; index < result.length; index += 1) result[index] += weights[number] * vector[index];
  });
  return Float32Array.from(result);
}

function feedForward({ norm, widen, widen_bias, narrow, narrow_bias }, x) {
  const wide = sum(product(widen, normalized(x, norm)), widen_bias);
  return sum(product(narrow, wide.map((value) => (value / 2) * (1 + erf(value / Math.SQRT2)))), narrow_bias);
}

/** The error function, by a series of positive terms. */
export function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x); // exact to float32 rounding
  let [total, term] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-12 * Math.abs(total); n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}
