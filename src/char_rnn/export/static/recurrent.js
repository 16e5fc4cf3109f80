/* A recurrent layer: the operations of its cell's graph, as in char_rnn.cells. */

import { columnOf, product } from "./tensors.js";

const EPSILON = 1e-5;

export class Recurrent {
  /**
   * `step`: the graph, from packing.py: `nodes` in topological order, the first `before` of which do not depend on the
   * state, and the indices of the `sequences` that the others read, of the `state`, and of the state `after`.
   * Each node has its own array, so slices are views and a step allocates nothing.
   */
  constructor(step, parameters, kernel) {
    this.kernel = kernel;
    const arrays = [];
    const isConstant = [];
    const runs = { before: [], after: [] };
    step.nodes.forEach((node, number) => {
      const read = node.inputs ?? [];
      const [array, run] = this.#compiled(node, read.map((each) => arrays[each]), parameters);
      arrays.push(array);
      isConstant.push(!["x", "state"].includes(node.op) && read.every((each) => isConstant[each]));
      if (run && isConstant[number]) run();
      else if (run) runs[number < step.before ? "before" : "after"].push(run);
      if (node.op === "x") this.x = array;
    });
    const chosen = (numbers) => numbers.map((number) => arrays[number]);
    Object.assign(this, { runs, sequences: chosen(step.sequences), before: chosen(step.state), after: chosen(step.after) });
  }

  /** The state at the beginning of a text: arrays, the first of which is the layer's output. */
  begin() {
    return this.before.map(({ length }) => new Float32Array(length));
  }

  /** Read an input; `place`: index of the 1 in a one-hot vector. */
  read(x, place = null) {
    this.x.set(x);
    this.place = place;
    for (const run of this.runs.before) run();
  }

  /** The sequences computed from the last input, for `give`. */
  given() {
    return this.sequences.map((each) => each.slice());
  }

  /** Use the sequences of an earlier input instead of reading it. */
  give(given) {
    given.forEach((each, number) => this.sequences[number].set(each));
  }

  /** Update a state with the last input, and return the output. */
  step(state) {
    state.forEach((part, number) => this.before[number].set(part));
    for (const run of this.runs.after) run();
    state.forEach((part, number) => part.set(this.after[number]));
    return state[0];
  }

  /** The array of a node, and the function that fills it, if any: inputs and views have none. */
  #compiled({ op, width, name, start = 0, number = 0 }, read, parameters) {
    if (op === "vector") return [parameters[name]];
    if (op === "slice") return [read[0].subarray(start, start + width)];
    const out = new Float32Array(width);
    if (op === "number") out.fill(number);
    if (["x", "state", "number"].includes(op)) return [out];
    if (op === "sigmoid" || op === "tanh") return [out, () => this.kernel[op](out, read[0])];
    if (op !== "product") return [out, () => OPERATIONS[op](out, ...read)];
    const [matrix, last] = [parameters[name], start + width];
    const isOneHot = () => read[0] === this.x && this.place !== null;
    return [out, () => (isOneHot() ? columnOf(matrix, this.place, start, last, out) : product(matrix, read[0], start, last, out))];
  }
}

const OPERATIONS = {
  add(out, one, other) {
    for (let index = 0; index < out.length; index += 1) out[index] = one[index] + other[index];
  },
  subtract(out, one, other) {
    for (let index = 0; index < out.length; index += 1) out[index] = one[index] - other[index];
  },
  multiply(out, one, other) {
    for (let index = 0; index < out.length; index += 1) out[index] = one[index] * other[index];
  },
  relu(out, x) {
    for (let index = 0; index < out.length; index += 1) out[index] = Math.max(0, x[index]);
  },
  softplus(out, x) {
    for (let index = 0; index < out.length; index += 1) {
      out[index] = Math.max(0, x[index]) + Math.log1p(Math.exp(-Math.abs(x[index])));
    }
  },
  join(out, ...parts) {
    let start = 0;
    for (const part of parts) {
      out.set(part, start);
      start += part.length;
    }
  },
  normalize,
};

/** Scale to mean 0 and variance 1. */
function normalize(out, x) {
  let mean = 0;
  for (let index = 0; index < x.length; index += 1) mean += x[index];
  mean /= x.length;
  let variance = 0;
  for (let index = 0; index < x.length; index += 1) variance += (x[index] - mean) ** 2;
  const deviation = Math.sqrt(variance / x.length + EPSILON);
  for (let index = 0; index < x.length; index += 1) out[index] = (x[index] - mean) / deviation;
}

/** Layer normalization; without a norm, x itself. */
export function normalized(x, norm) {
  if (!norm) return x;
  const result = new Float32Array(x.length);
  normalize(result, x);
  return result.map((value, index) => value * norm.gain[index] + norm.bias[index]);
}

export function sum(one, other) {
  return one.map((value, index) => value + other[index]);
}
