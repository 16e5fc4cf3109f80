/* A recurrent layer: its cell's equations, computed operation by operation as char_rnn.cells has them. */

import { columnOf, product } from "./tensors.js";

const EPSILON = 1e-5;

export class Recurrent {
  /**
   * `step`: what packing.py makes of the equations: `nodes`, each after its inputs, the first `before` of them before the
   * state is needed; and which of them are the `sequences` that the rest reads, the `state`, and the state `after`.
   * Every node has an array of its own, so that slices are views and a step makes no new arrays.
   */
  constructor(step, parameters) {
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

  /** The state at a text's beginning: arrays, of which the first is the layer's output. */
  begin() {
    return this.before.map(({ length }) => new Float32Array(length));
  }

  /** Read an input; `place`: of its 1, where it is a one-hot vector. */
  read(x, place = null) {
    this.x.set(x);
    this.place = place;
    for (const run of this.runs.before) run();
  }

  /** What was made of the input read last, for `give`. */
  given() {
    return this.sequences.map((each) => each.slice());
  }

  /** Take what was made of an input in the place of reading it. */
  give(given) {
    given.forEach((each, number) => this.sequences[number].set(each));
  }

  /** Change a state by the input read last, and return the output. */
  step(state) {
    state.forEach((part, number) => this.before[number].set(part));
    for (const run of this.runs.after) run();
    state.forEach((part, number) => part.set(this.after[number]));
    return state[0];
  }

  /** The array of a node, and what fills it; nothing where it is given or a view. */
  #compiled({ op, width, name, start = 0, number = 0 }, read, parameters) {
    if (op === "vector") return [parameters[name]];
    if (op === "slice") return [read[0].subarray(start, start + width)];
    const out = new Float32Array(width);
    if (op === "number") out.fill(number);
    if (["x", "state", "number"].includes(op)) return [out];
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
  sigmoid(out, x) {
    for (let index = 0; index < out.length; index += 1) out[index] = 1 / (1 + Math.exp(-x[index]));
  },
  tanh(out, x) {
    for (let index = 0; index < out.length; index += 1) out[index] = Math.tanh(x[index]);
  },
  relu(out, x) {
    for (let index = 0; index < out.length; index += 1) out[index] = Math.max(0, x[index]);
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

/** To mean 0 and variance 1. */
function normalize(out, x) {
  let mean = 0;
  for (let index = 0; index < x.length; index += 1) mean += x[index];
  mean /= x.length;
  let variance = 0;
  for (let index = 0; index < x.length; index += 1) variance += (x[index] - mean) ** 2;
  const deviation = Math.sqrt(variance / x.length + EPSILON);
  for (let index = 0; index < x.length; index += 1) out[index] = (x[index] - mean) / deviation;
}

/** To mean 0 and variance 1, times the gain, plus the bias; no norm leaves it. */
export function normalized(x, norm) {
  if (!norm) return x;
  const result = new Float32Array(x.length);
  normalize(result, x);
  return result.map((value, index) => value * norm.gain[index] + norm.bias[index]);
}

export function sum(one, other) {
  return one.map((value, index) => value + other[index]);
}
