/*
 * The worker of an exported page: it runs the model and answers messages.
 *
 * In: {id, ask, ...}; `open` comes first. Out: {id, event, value}; the event is start, characters, done or error for a
 * text, progress, answer or error for other requests.
 */

import { bytesOf } from "./kernel.js";
import { withNumbers } from "./tensors.js";
import { Network } from "./network.js";
import { Symbols } from "./symbols.js";
import { levelsOf, likeliest, statesOf, Writing } from "./writing.js";
import { bestCells } from "./features.js";

const SLICE = 40; // milliseconds of computing between two checks for messages
const SAMPLED = { seed: 0, temperature: 0.8 }; // the text in which cells are searched
const LENGTHS = [1000, 4000]; // shortest and longest length of this text
const ACTIVATIONS = 4_000_000; // most activations of a text, within these lengths

let network;
let symbols;
let past = null; // {read, state, logProbs} of the last text, from which a Writing may continue
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

  async states({ text }) {
    const before = Math.max(0, [...text].length - longest()); // only the last ones are kept
    const state = network.begin();
    let count = 0;
    const note = () => (count++ < before ? null : statesOf(state));
    return levelsOf((await readCharacters(text, (symbol) => network.feed(state, symbol), note)).slice(before));
  },

  async cells({ id, text }) {
    const progress = (share) => postMessage({ id, event: "progress", value: share });
    const found = await (text === undefined ? writtenText : givenText)(() => stopped.has(id), progress, text);
    return { cells: stopped.delete(id) ? [] : bestCells(...found, network.hidden_size) };
  },

  generate: ({ id, request }) => generate(id, request),
};

/* The texts to find cells in: [characters, activations after each]. */

async function writtenText(isStopped, progress) {
  const characters = [];
  const states = [];
  const length = longest();
  const writing = new Writing(network, symbols, { ...SAMPLED, length }, {
    start() {},
    character({ text }) {
      for (const each of text) {
        characters.push(each);
        states.push(statesOf(writing.state));
      }
    },
    done() {},
  });
  const step = () => {
    writing.step();
    return !writing.ended && !isStopped();
  };
  await inSlices(step, () => progress(writing.count / length));
  return [characters, states];
}

async function givenText(isStopped, progress, text) {
  const characters = [...text].slice(0, longest());
  const state = network.begin();
  const read = (symbol) => network.feed(state, symbol);
  return [characters, await readCharacters(characters.join(""), read, () => statesOf(state), isStopped, progress)];
}

const longest = () => Math.floor(Math.max(LENGTHS[0], Math.min(LENGTHS[1], ACTIVATIONS / (network.layers.length * network.hidden_size))));

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
  past = { read: writing.read, state: writing.state, logProbs: writing.logProbs };
  stopped.delete(id);
}

/** Read a text and return the values of `note()` after each character. */
async function readCharacters(text, read, note, isStopped = () => false, progress = () => {}) {
  const spelled = symbols.spelled(text);
  const values = [];
  await inSlices(() => {
    if (values.length === spelled.length || isStopped()) return false;
    spelled[values.length].forEach(read);
    values.push(note());
    return true;
  }, () => progress(values.length / spelled.length));
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
