/* Look inside: the colours of the text, their cell, the wall of all cells, and the cells that track features. */

import { blank, byId, make } from "./dom.js";
import { legendOf } from "./colours.js";
import { lastOf, nameOf, sameUnit } from "./column_colours.js";
import { FoundCells, strongest } from "./found_cells.js";
import { TextStates } from "./text_states.js";
import { Wall } from "./wall.js";

export class Cells {
  /** `onChange()`: called when the colours or the cell change. */
  constructor(backend, onChange) {
    this.onChange = onChange;
    this.unit = { layer: 0, index: 0 };
    this.states = new TextStates(backend, () => this.#showStates());
    const onChoose = (unit) => this.choose(unit);
    this.found = new FoundCells(backend, {
      onChoose,
      onPreview: (unit) => this.wall.look(unit),
      onFound: () => this.#show(),
      text: () => lastOf(this.column.view.text(), this.column.limits.prime),
    });
    this.wall = new Wall({
      onChoose,
      onPreview: (unit) => this.#preview(unit),
      onShow: () => this.#showStates(),
      describe: (unit, value) => this.#describe(unit, value),
    });
    byId("colour").addEventListener("change", () => {
      this.#show();
      onChange();
    });
    byId("layer").addEventListener("change", () => this.choose({ layer: Number(byId("layer").value), index: this.unit.index }));
    byId("unit").addEventListener("change", () => this.choose({ layer: this.unit.layer, index: Number(byId("unit").value) }));
  }

  get mode() {
    return document.querySelector("#colour input:checked").value;
  }

  /** Choose the mode without a change of the texts. */
  setMode(mode) {
    const choice = document.querySelector(`#colour input[value="${mode}"]`);
    if (choice) choice.checked = true;
  }

  /** Show the model and the cell of a column. */
  showColumn(column, several) {
    if (this.column) this.column.isWatched = () => false;
    if (this.column !== column) this.column?.colours.glimpse(null);
    column.isWatched = () => this.wall.isVisible;
    this.column = column;
    this.model = column.model;
    const { layer, index } = column.colours.unit ?? strongest(this.found.of(this.model)) ?? { layer: this.model.num_layers - 1, index: 0 };
    this.unit = { layer, index };
    byId("whose").textContent = several ? this.model.name : "";
    this.#show();
  }

  /** Colour by this cell. */
  choose({ layer, index }) {
    const { num_layers, hidden_size } = this.model;
    const held = (value, count) => Math.max(0, Math.min(count - 1, Math.round(value) || 0));
    this.unit = { layer: held(layer, num_layers), index: held(index, hidden_size) };
    this.setMode("cell");
    this.#show();
    this.onChange();
  }

  /** Show the activations at an item of the column. */
  inspect(index) {
    this.index = index;
    this.found.showText(this.column);
    if (this.wall.isVisible) this.#showStates();
  }

  /** Show the legend of a column's colours, and the value at a character. */
  showLegend({ mode, extent, column }, reading) {
    byId("reading").textContent = reading;
    const { copied_from } = column.model;
    const legend = [mode, extent, copied_from].join();
    if (legend === this.legend) return; // as for most characters
    this.legend = legend;
    blank(byId("legend"), mode === "none");
    const { classes, ends } = legendOf(mode, extent, copied_from);
    byId("scale").replaceChildren(...classes.map((className) => make("i", { className })));
    byId("scale").hidden = mode === "copied";
    byId("ends").replaceChildren(...ends.map((text) => make("span", {}, text)));
  }

  #show() {
    const { num_layers, hidden_size, copied_from } = this.model;
    byId("copied").hidden = !copied_from && this.mode !== "copied";
    const layers = Array.from({ length: num_layers }, (_, layer) => make("option", { value: layer }, String(layer)));
    byId("layer").replaceChildren(...layers);
    byId("layer").value = this.unit.layer;
    byId("unit").max = hidden_size - 1;
    byId("unit").value = this.unit.index;
    this.found.showModel(this.model, this.mode === "cell" ? this.unit : null);
    this.wall.showModel(this.model, this.unit, this.found.of(this.model));
    this.#showStates();
  }

  #showStates() {
    const { column, index, wall, states } = this;
    if (!column || index === undefined) return;
    const isMoving = column.running || Boolean(column.slow);
    if (!isMoving || !matchMedia("(prefers-reduced-motion: reduce)").matches) wall.show(states.at(column, index), isMoving);
    if (this.found.of(this.model).length && states.covers(column, index)) {
      this.found.showLines((unit, count) => states.of(column, unit, Math.max(0, index + 1 - count), index + 1));
    }
    if (this.previewed) this.#preview(this.previewed);
  }

  #preview(unit) {
    this.previewed = unit;
    const { column, states } = this;
    const { length } = column.items;
    column.colours.glimpse(unit && states.covers(column, length - 1) ? unit : null, () => states.of(column, unit, 0, length));
  }

  #describe(unit, level) {
    const { colours, items } = this.column;
    const exact = colours.mode === "cell" && sameUnit(unit, colours.unit) ? items[this.index]?.activation : undefined;
    const value = exact ?? level; // levels are rounded to 8 bits
    const sentence = this.found.sentence(unit);
    return `Layer ${unit.layer}, cell ${unit.index}${value === undefined ? "" : `: ${signed(value)}`}${sentence && `\n${sentence}`}`;
  }
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** The value of a column's colours at an item, as text. */
export function readingAt({ colours, model }, item, sign) {
  const { mode, unit, reading } = colours;
  if (reading) return mode === "copied" ? `Searching ${model.copied_from} …` : "Reading the text …";
  if (!item) return "";
  if (mode === "surprise") {
    const bits = colours.bits(item);
    return bits === undefined ? "" : `${bits.toFixed(1)} bits at ${sign}`;
  }
  if (mode === "copied") return copiedAt(item, sign);
  if (mode !== "cell" || item.activation === undefined) return "";
  const name = nameOf(unit);
  return `${name[0].toUpperCase()}${name.slice(1)}: ${signed(item.activation)} at ${sign}`;
}

const copiedAt = ({ copied }, sign) =>
  copied === undefined ? "" : copied ? `${sign} is in a copied stretch of ${copied} characters` : `${sign} is not copied`;
