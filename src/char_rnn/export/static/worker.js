/*
 * The worker of an exported page: it runs the model and answers messages.
 *
 * In: {id, ask, ...}; `open` comes first. Out: {id, event, value}; the event is start, characters, done or error for a
 * text, answer or error for other requests.
 */

import { bytesOf } from "./kernel.js";
import { withNumbers } from "./tensors.js";
import { Network } from "./network.js";
import { Symbols } from "./symbols.js";
import { likeliest, Writing } from "./writing.js";
import { bestCells } from "./features.js";

const SLICE = 40; // milliseconds of computing between two checks for messages
const SAMPLED = { seed: 0, temperature: 0.8 }; // the text in which cells are searched
const LENGTHS = [1000, 4000]; // shortest and longest length of this text
const ACTIVATIONS = 4_000_000; // most activations of this text, within these lengths

let network;
let symbols;
let past = null; // {read, state} of the last text, from which a Writing may continue
const stopped = new Set();

const answers = {
  open({ description, weights }) {
    network = new Network(withNumbers(description.network, bytesOf(weights)));
    symbols = new Symbols(description.vocabulary);
    return { symbols: symbols.symbols.map((_, index) => symbols.label(index)) };
  },

  async activations({ text, layer, unit }) {
    const state = network.begin();
    const values = await readCharacters(text, (symbol) => network.feed(state, symbol), () => state.cells[layer][0][unit]);
    return { activations: values };
  },

  async score({ text, alternatives = 0 }) {
    const state = network.begin();
    let logProbs = new Float64Array(symbols.size).fill(-Math.log(symbols.size));
    let total = null;
    let begun = false;
    const read = (symbol) => {
      begun = true;
      total = (total ?? 0) + logProbs[symbol];
      logProbs = network.step(state, symbol);
    };
    const values = await readCharacters(text, read, () => {
      const value = total;
      total = null;
      return value;
    });
    return { log_probs: values, ...(alternatives && { next: begun ? likeliest(logProbs, alternatives, symbols) : [] }) };
  },

  async cells() {
    const characters = [];
    const activations = [];
    const room = ACTIVATIONS / (network.layers.length * network.hidden_size);
    const length = Math.floor(Math.max(LENGTHS[0], Math.min(LENGTHS[1], room)));
    const writing = new Writing(network, symbols, { ...SAMPLED, length }, {
      start() {},
      character({ text }) {
        for (const each of text) {
          characters.push(each);
          activations.push(writing.state.cells.map(([h]) => h.slice()));
        }
      },
      done() {},
    });
    await inSlices(() => {
      writing.step();
      return !writing.ended;
    });
    return { cells: bestCells(characters, activations) };
  },

  generate: ({ id, request }) => generate(id, request),
};

async function generate(id, request) {
  const began = performance.now();
  let readAt = began;
  let written = 0;
  let characters = [];
  const post = (event, value) => postMessage({ id, event, value });
  const flush = () => {
    if (characters.length) post("characters", { text: characters.map(({ text }) => text).join(""), characters });
    characters = [];
  };
  const tell = {
    start(value) {
      readAt = performance.now();
      post("start", value);
    },
    character(entry) {
      written += 1;
      characters.push(entry);
    },
    done({ reason }) {
      flush();
      const since = (time) => (performance.now() - time) / 1000;
      post("done", { reason, characters: written, seconds: since(began), writing_seconds: since(readAt) });
    },
  };
  const writing = new Writing(network, symbols, request, tell, past);
  past = null;
  await inSlices(() => {
    writing.step();
    return !writing.ended && !stopped.has(id);
  }, flush);
  past = { read: writing.read, state: writing.state };
  stopped.delete(id);
}

/** Read a text and return the values of `note()` after each character. */
async function readCharacters(text, read, note) {
  const spelled = symbols.spelled(text);
  const values = [];
  await inSlices(() => {
    if (values.length === spelled.length) return false;
    spelled[values.length].forEach(read);
    values.push(note());
    return true;
  });
  return values;
}

/** Call `step` until it returns false, and receive messages in between. */
async function inSlices(step, afterSlice = () => {}) {
  for (let more = true; more; ) {
    const end = performance.now() + SLICE;
    do more = step();
    while (more && performance.now() < end);
    afterSlice();
    if (more) await new Promise(nextTurn);
  }
}

/** Like setTimeout(go, 0), which browsers delay by 4 milliseconds. */
function nextTurn(go) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    go();
  };
  port2.postMessage(null);
}

onmessage = async ({ data }) => {
  const { id, ask } = data;
  if (ask === "stop") {
    stopped.add(id);
    return;
  }
  try {
    postMessage({ id, event: "answer", value: await answers[ask](data) });
  } catch (error) {
    postMessage({ id, event: "error", value: { message: error.message } });
  }
};
