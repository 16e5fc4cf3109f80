/* A text being written, one symbol a step. */

import { draw, highest, probabilitiesOf, temperatureAt } from "./strategies.js";
import { Random } from "./random.js";
import { howRead, textOf } from "./unknown_characters.js";

const PACE = 40; // milliseconds between two characters that come with the activations of all cells

const DEFAULTS = {
  prime: "",
  length: 500,
  stop: [],
  stop_at_newline: false,
  keep_stop: false,
  unknown: "error",
  temperature: 1,
  repetition_penalty: 1,
  repetition_window: 64,
  banned: "",
  allowed: null,
  alternatives: 0,
};

export class Writing {
  /**
   * `asked`: the request of a backend's `generate`. Throws an Error whose message tells a person what to do.
   * `past`: {read, state, logProbs} of an earlier text, or null: a text that continues it does not read it again.
   * `tell`: {start({prime, normal_form?, substitutions?, activations?}),
   *          character({text, probability, alternatives, activation?, states?}), done({reason})}.
   */
  constructor(network, symbols, asked, tell, past = null) {
    const request = { ...DEFAULTS, ...asked };
    Object.assign(this, { network, symbols, request, tell });
    this.random = new Random(request.seed ?? Math.floor(Math.random() * 2 ** 32));
    this.kept = symbols.kept(request.allowed, request.banned);
    const stops = request.stop.map((text) => symbols.canonical(text));
    const ends = request.stop_at_newline ? symbols.lineEnds() : [];
    this.stopText = new StopText([...stops, ...ends], request.keep_stop);
    this.spelling = symbols.spell(request.prime, request.unknown);
    this.prime = symbols.encode(textOf(this.spelling));
    const isGoingOn = past && !request.unit && isBeginning(past.read, this.prime) && (past.logProbs || past.read.length < this.prime.length);
    this.state = isGoingOn ? past.state : network.begin();
    this.read = isGoingOn ? past.read : []; // the symbols that the state has read
    this.sentAt = 0; // the time of the last activations of all cells
    this.recent = this.prime.slice(-request.repetition_window);
    this.decoder = symbols.decoder();
    this.activations = [];
    this.entries = []; // drawn, but not yet certain
    this.certain = "";
    this.count = 0;
    this.logProbs = isGoingOn ? past.logProbs : null; // of the next symbol; null before the first symbol is read
    this.ended = false;
  }

  /** Read a symbol of the prime, or draw one. */
  step() {
    if (this.read.length < this.prime.length) {
      this.#read(this.prime[this.read.length]);
      if (this.request.unit) this.activations.push(this.#activation());
      if (this.read.length < this.prime.length) return;
    }
    if (!this.started) this.#start();
    else this.#write();
    if (!this.ended && (this.stopText.found || this.count >= this.request.length)) this.#end();
  }

  #read(symbol) {
    this.logProbs = this.network.step(this.state, symbol);
    this.read.push(symbol);
  }

  #start() {
    this.started = true;
    const start = { prime: this.symbols.decode(this.prime), ...howRead(this.spelling) };
    if (this.request.unit) start.activations = this.activations;
    this.tell.start(start);
  }

  #write() {
    const symbol = this.logProbs ? this.#choose() : this.#first();
    const entry = { text: this.decoder.decode(symbol), ...this.#predicted(symbol) };
    const label = this.symbols.label(symbol);
    if (label !== entry.text) entry.symbol = label; // a byte that is not a character by itself
    this.count += 1;
    this.entries.push(entry);
    this.certain += this.stopText.feed(entry.text);
    const isLast = this.stopText.found || this.count >= this.request.length;
    if (this.count < this.request.length || this.request.unit || this.request.states) this.#read(symbol);
    if (this.request.unit) entry.activation = this.#activation();
    if (this.request.states && (isLast || performance.now() - this.sentAt >= PACE)) {
      entry.states = levelsOf([statesOf(this.state)]);
      this.sentAt = performance.now();
    }
    this.#release();
  }

  #choose() {
    const { request } = this;
    const strategy = { ...request, temperature: temperatureAt(request, this.count, request.length) };
    const symbol = draw(probabilitiesOf(this.logProbs, strategy, this.recent, this.kept), this.random.uniform());
    this.recent.push(symbol);
    if (this.recent.length > request.repetition_window) this.recent.shift();
    return symbol;
  }

  /** The first symbol of a text without a prime, drawn uniformly. */
  #first() {
    const possible = [...this.symbols.symbols.keys()].filter((symbol) => this.kept?.[symbol] ?? true);
    const place = this.request.temperature === 0 ? 0 : Math.floor(this.random.uniform() * possible.length);
    const symbol = possible[place];
    this.recent.push(symbol);
    return symbol;
  }

  /** The model's probability of a symbol, and the likeliest symbols. */
  #predicted(symbol) {
    const { logProbs, symbols } = this;
    if (!logProbs) return { probability: 1 / symbols.size, alternatives: [] };
    return { probability: Math.exp(logProbs[symbol]), alternatives: likeliest(logProbs, this.request.alternatives, symbols) };
  }

  #activation() {
    const { layer, index } = this.request.unit;
    return this.state.cells[layer][0][index];
  }

  /** Report the characters that can no longer be part of a stop text. */
  #release() {
    while (this.entries.length && this.entries[0].text.length <= this.certain.length) {
      const entry = this.entries.shift();
      this.certain = this.certain.slice(entry.text.length);
      this.tell.character(entry);
    }
  }

  #end() {
    this.ended = true;
    if (!this.stopText.found) this.certain += this.stopText.rest();
    else if (this.certain && this.entries.length) this.entries[0].text = this.certain;
    else this.entries = [];
    this.#release();
    this.tell.done({ reason: this.stopText.found ? "stop" : "length" });
  }
}

/** The likeliest symbols, [[text, probability], ...]. */
export const likeliest = (logProbs, count, symbols) =>
  highest(logProbs, count).map((each) => [symbols.label(each), Math.exp(logProbs[each])]);

/** The activations of all cells, by layer. */
export const statesOf = ({ cells }) => Float32Array.from(cells.flatMap(([h]) => [...h]));

/** {values, scale, characters}: activations of several characters in 8 bits. */
export function levelsOf(rows) {
  const scale = rows.reduce((most, row) => row.reduce((largest, value) => Math.max(largest, Math.abs(value)), most), 1);
  const values = Int8Array.from(rows.flatMap((row) => [...row]), (value) => Math.round((value * 127) / scale));
  return { values, scale, characters: rows.length };
}

/** Whether a list is the beginning of another. */
const isBeginning = (list, whole) => list.length <= whole.length && list.every((each, place) => each === whole[place]);

/** Passes text on, piece by piece, until a stop text appears, which is passed on if `keep`. */
export class StopText {
  constructor(stops, keep = false) {
    Object.assign(this, { stops, keep });
    this.held = "";
    this.found = false;
  }

  /** The text that can no longer be part of a stop text. */
  feed(piece) {
    if (!this.stops.length) return piece;
    const text = this.held + piece;
    const found = this.stops.map((stop) => ({ start: text.indexOf(stop), stop })).filter(({ start }) => start >= 0);
    const ends = ({ start, stop }) => start + stop.length;
    found.sort((one, other) => ends(one) - ends(other) || one.start - other.start);
    this.found = found.length > 0;
    const before = this.keep ? this.held.length : 0; // characters that were passed on
    const decided = this.found ? found[0].start : text.length - Math.max(...this.stops.map((stop) => overlap(text, stop)));
    this.held = this.found ? "" : text.slice(decided);
    if (this.keep) return text.slice(before, this.found ? ends(found[0]) : text.length);
    return text.slice(0, decided);
  }

  rest() {
    const held = this.keep ? "" : this.held;
    this.held = "";
    return held;
  }
}

/** The length of the longest end of a text that is a proper beginning of `stop`. */
function overlap(text, stop) {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
