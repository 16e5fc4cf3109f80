/* The colours of a column's text, and the numbers behind them. */

import { make, percent } from "./dom.js";
import { activationLook, bitsOf, extentFor, surpriseLook } from "./colours.js";

const NUMBERS = { cell: "activation", surprise: "surprise", copied: "copied" }; // of an item, by mode

export class ColumnColours {
  /** `column`: a Column. */
  constructor(column) {
    this.column = column;
    this.mode = "none";
    this.unit = null;
    this.extent = 1;
    this.reading = 0; // requests for numbers that are not answered yet
    this.glimpsed = null; // the cell that is looked at, instead of the chosen colours
  }

  /** Colour by nothing ("none"), the activation of `unit` ("cell"), surprise ("surprise") or underline copies ("copied"). */
  async show(mode, unit) {
    const changed = mode === "cell" && !sameUnit(unit, this.unit);
    this.mode = mode === "copied" && !this.column.model.copied_from ? "none" : mode;
    if (mode === "cell") this.unit = unit;
    if (changed) for (const item of this.column.items) delete item.activation;
    this.#label();
    this.#recolour();
    await this.fill();
  }

  /** The surprise of this model at an item, in bits; undefined if unknown. */
  bits({ surprise, probability, model }) {
    return surprise ?? (model === this.column.model.name ? bitsOf(probability) : undefined);
  }

  /** Colour by a cell that is looked at, with the `values()` of all items; null: by the chosen colours again. */
  glimpse(unit, values) {
    if (!unit && !this.glimpsed) return;
    this.glimpsed = unit;
    if (unit) values().forEach((value, index) => (this.column.items[index].glimpse = value));
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#label();
      this.#recolour();
    });
  }

  /** Colour again if an activation is beyond the scale. */
  widen() {
    if (this.mode === "cell" && extentFor(this.#largest() || 1) !== this.extent) this.#recolour();
  }

  /** Request the numbers that the items lack. */
  async fill() {
    const { mode, unit, column } = this;
    const { items } = column;
    const lacking = items.findLastIndex((item) => this.#value(item) === undefined);
    if (mode === "none" || column.running || lacking < 0) return;
    const asked = items.slice(0, lacking + 1);
    const text = lastOf(asked.map((item) => item.text).join(""), column.limits.prime);
    this.#reads(1);
    try {
      const values = await this.#ask(text);
      if (column.trouble.textContent === this.problem) column.trouble.hidden = true;
      if (mode !== this.mode || items !== column.items || items[lacking] !== asked[lacking]) return;
      if (mode === "cell" && !sameUnit(unit, this.unit)) return;
      setLast(asked, values, NUMBERS[mode]);
      this.#label();
      this.#recolour();
    } catch (error) {
      column.complain((this.problem = error.message));
    } finally {
      this.#reads(-1);
    }
  }

  #label() {
    const { shade } = this.column;
    const by = this.glimpsed ? nameOf(this.glimpsed) : { cell: nameOf(this.unit), surprise: "surprise" }[this.mode];
    shade.replaceChildren(...(by ? [make("span", { className: "unseen" }, "Coloured by "), by] : []));
    shade.classList.toggle("surprise", !this.glimpsed && this.mode === "surprise");
    const isCopies = !this.glimpsed && this.mode === "copied";
    shade.classList.toggle("copies", isCopies);
    if (isCopies) shade.replaceChildren(make("u", { className: "copied" }, "copied"), ` ${this.#copiedShare()}`);
  }

  #copiedShare() {
    const { items } = this.column;
    const known = items.filter(({ copied }) => copied !== undefined);
    return known.length ? percent(known.filter(({ copied }) => copied).length / known.length) : "";
  }

  #reads(more) {
    this.reading += more;
    this.column.playground.emit("change", this.column);
  }

  async #ask(text) {
    const { mode, unit, column } = this;
    const question = { model: column.model.name, text };
    if (mode === "cell") {
      return (await column.backend.activations({ ...question, layer: unit.layer, unit: unit.index })).activations;
    }
    if (mode === "copied") return lengthsOf((await column.backend.copied(question)).stretches, text);
    return (await column.backend.score(question)).log_probs.map((value) => (value === null ? 0 : -value / Math.LN2));
  }

  #value(item) {
    return this.mode === "surprise" ? this.bits(item) : item[NUMBERS[this.mode]];
  }

  #recolour() {
    const key = this.glimpsed ? "glimpse" : "activation";
    this.extent = extentFor(this.#largest(key) || 1);
    const { extent, column } = this;
    const byCell = (item) => (item[key] === undefined ? "" : activationLook(item[key], extent));
    const looks = {
      none: () => "",
      cell: byCell,
      surprise: (item) => surpriseLook(this.#value(item) ?? 0),
      copied: ({ copied }) => (copied ? "copied" : ""),
    };
    column.view.lookOf = this.glimpsed ? byCell : looks[this.mode];
    column.pane.classList.toggle("coloured", column.view.lookOf !== looks.none);
    column.view.redraw();
  }

  #largest(key = "activation") {
    return this.column.items.reduce((largest, item) => Math.max(largest, Math.abs(item[key] ?? 0)), 0);
  }
}

export const sameUnit = (one, other) => one?.layer === other?.layer && one?.index === other?.index;

/** "cell 52 of layer 1"; layers and cells are numbered from 0, as in the API. */
export const nameOf = (unit) => (unit ? `cell ${unit.index} of layer ${unit.layer}` : "");

/* The length of the longest copied stretch around each character of a text; 0: it is not copied. */
function lengthsOf(stretches, text) {
  const lengths = new Array([...text].length).fill(0);
  for (const [start, end] of stretches) {
    for (let place = start; place < end; place += 1) lengths[place] = Math.max(lengths[place], end - start);
  }
  return lengths;
}

/** The last `count` characters of a text. */
export function lastOf(text, count) {
  const all = [...text];
  return all.length > count ? all.slice(-count).join("") : text;
}

/** Give the last items the values of their characters; an item may be part of a character, or several. */
export function setLast(items, values, key = "activation") {
  let last = values.length - 1;
  for (let index = items.length - 1; index >= 0 && last >= 0; index -= 1) {
    items[index][key] = values[last];
    last -= [...items[index].text].length;
  }
}
