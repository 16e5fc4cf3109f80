/* The colours of a column's text, and the numbers behind them. */

import { make } from "./dom.js";
import { activationLook, bitsOf, extentFor, surpriseLook } from "./colours.js";

export class ColumnColours {
  /** `column`: a Column. */
  constructor(column) {
    this.column = column;
    this.mode = "none";
    this.unit = null;
    this.extent = 1;
    this.reading = 0; // requests for numbers that are not answered yet
  }

  /** Colour by nothing ("none"), the activation of `unit` ("cell") or surprise ("surprise"). */
  async show(mode, unit) {
    const changed = mode === "cell" && !sameUnit(unit, this.unit);
    this.mode = mode;
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
      if (mode !== this.mode || items !== column.items || items[lacking] !== asked[lacking]) return;
      if (mode === "cell" && !sameUnit(unit, this.unit)) return;
      setLast(asked, values, mode === "cell" ? "activation" : "surprise");
      this.#recolour();
    } catch (error) {
      column.complain(error.message);
    } finally {
      this.#reads(-1);
    }
  }

  #label() {
    const { shade } = this.column;
    const by = { none: "", cell: nameOf(this.unit), surprise: "surprise" }[this.mode];
    shade.replaceChildren(...(by ? [make("span", { className: "unseen" }, "Coloured by "), by] : []));
    shade.classList.toggle("surprise", this.mode === "surprise");
  }

  #reads(more) {
    this.reading += more;
    this.column.on.change(this.column);
  }

  async #ask(text) {
    const { mode, unit, column } = this;
    const question = { model: column.model.name, text };
    if (mode === "cell") {
      return (await column.backend.activations({ ...question, layer: unit.layer, unit: unit.index })).activations;
    }
    return (await column.backend.score(question)).log_probs.map((value) => (value === null ? 0 : -value / Math.LN2));
  }

  #value(item) {
    return this.mode === "cell" ? item.activation : this.bits(item);
  }

  #recolour() {
    this.extent = extentFor(this.#largest() || 1);
    const { extent, column } = this;
    column.view.lookOf = {
      none: () => "",
      cell: ({ activation }) => (activation === undefined ? "" : activationLook(activation, extent)),
      surprise: (item) => surpriseLook(this.#value(item) ?? 0),
    }[this.mode];
    column.pane.classList.toggle("coloured", this.mode !== "none");
    column.view.redraw();
  }

  #largest() {
    return this.column.items.reduce((largest, { activation }) => Math.max(largest, Math.abs(activation ?? 0)), 0);
  }
}

export const sameUnit = (one, other) => one?.layer === other?.layer && one?.index === other?.index;

/** "cell 52 of layer 1"; layers and cells are numbered from 0, as in the API. */
export const nameOf = (unit) => (unit ? `cell ${unit.index} of layer ${unit.layer}` : "");

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
