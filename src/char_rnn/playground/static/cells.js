/* Look inside: the colours of the text, their cell, and the cells that track features. */

import { blank, byId, enable, isOn, make } from "./dom.js";
import { legendOf } from "./colours.js";
import { nameOf } from "./column_colours.js";

const CLEAR = 0.4; // smaller correlations are not shown: networks with random weights have them too
const FIND = "Find cells that track features";

export class Cells {
  /** `onChange()`: called when the colours or the cell change. */
  constructor(backend, onChange) {
    this.backend = backend;
    this.onChange = onChange;
    this.known = new Map(); // model -> its cells that track features
    this.unit = { layer: 0, index: 0 };
    byId("colour").addEventListener("change", () => {
      this.#showFound();
      onChange();
    });
    byId("layer").addEventListener("change", () => this.choose({ layer: Number(byId("layer").value), index: this.unit.index }));
    byId("unit").addEventListener("change", () => this.choose({ layer: this.unit.layer, index: Number(byId("unit").value) }));
    byId("find-cells").addEventListener("click", () => this.find());
    byId("all-units").addEventListener("toggle", () => this.#showUnits());
    this.#listenToUnits();
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
    this.model = column.model;
    this.unit = column.colours.unit ?? { layer: this.model.num_layers - 1, index: 0 };
    byId("whose").textContent = several ? this.model.name : "";
    this.#show();
    this.#showFound();
  }

  /** Colour by this cell. */
  choose({ layer, index }) {
    const { num_layers, hidden_size } = this.model;
    const held = (value, count) => Math.max(0, Math.min(count - 1, Math.round(value) || 0));
    this.unit = { layer: held(layer, num_layers), index: held(index, hidden_size) };
    this.setMode("cell");
    this.#show();
    this.#showFound();
    this.onChange();
  }

  /** Show the legend of a column's colours, and the value at a character. */
  showLegend({ mode, extent }, reading) {
    blank(byId("legend"), mode === "none");
    const { classes, ends } = legendOf(mode, extent);
    byId("scale").replaceChildren(...classes.map((className) => make("i", { className })));
    byId("ends").replaceChildren(...ends.map((text) => make("span", {}, text)));
    byId("reading").textContent = reading;
  }

  #show() {
    const { num_layers, hidden_size } = this.model;
    const layers = Array.from({ length: num_layers }, (_, layer) => make("option", { value: layer }, String(layer)));
    byId("layer").replaceChildren(...layers);
    byId("layer").value = this.unit.layer;
    byId("unit").max = hidden_size - 1;
    byId("unit").value = this.unit.index;
    this.#showUnits();
  }

  /** Find the cells that track features; `quiet`: without a message, because nobody asked for them. */
  async find(quiet = false) {
    const { name } = this.model;
    const button = byId("find-cells");
    if (!isOn(button)) return [];
    byId("found").setAttribute("aria-live", quiet ? "off" : "polite");
    enable(button, false);
    button.textContent = "Searching …";
    try {
      this.known.set(name, (await this.backend.cells(name)).cells);
    } catch (error) {
      if (!quiet) byId("found").replaceChildren(make("p", { className: "trouble" }, error.message));
      return [];
    } finally {
      enable(button, true);
      button.textContent = FIND;
    }
    const held = button === document.activeElement;
    this.#showFound();
    this.#showUnits();
    if (held && button.hidden) (byId("found").querySelector(".chip") ?? byId("found")).focus();
    return this.known.get(name).filter(isClear);
  }

  #showFound() {
    const cells = this.known.get(this.model.name);
    byId("find-cells").hidden = Boolean(cells);
    if (!cells) {
      byId("found").replaceChildren();
      return;
    }
    const clear = Map.groupBy(cells.filter(isClear), ({ tracks }) => tracks);
    const weak = [...new Set(cells.map(({ tracks }) => tracks))].filter((tracks) => !clear.has(tracks));
    const key = clear.size ? "Each button shows layer · cell and correlation. " : "No cell of this model clearly tracks a feature. ";
    const rest = weak.length ? `Not shown (correlation below ${CLEAR.toFixed(2)}): ${weak.join(", ")}.` : "";
    byId("found").replaceChildren(
      ...[...clear].map(([tracks, members]) => this.#group(tracks, members)),
      make("p", { className: "hint" }, key, rest),
    );
  }

  #group(tracks, cells) {
    const chips = cells.map((cell) => {
      const { layer, index, correlation } = cell;
      const chip = make("button", { type: "button", className: "chip" }, `${layer}·${index} `, ...strength(correlation));
      chip.dataset.unit = `${layer} ${index}`;
      chip.title = `Layer ${layer}, cell ${index}, correlation ${correlation.toFixed(2)}`;
      chip.setAttribute("aria-pressed", this.mode === "cell" && layer === this.unit.layer && index === this.unit.index);
      chip.addEventListener("click", () => {
        this.choose({ layer, index });
        this.#refocus(layer, index);
      });
      return chip;
    });
    return make("div", { className: "group" }, make("h3", {}, tracks), make("div", { className: "chips" }, ...chips));
  }

  #refocus(layer, index) {
    byId("found").querySelector(`[data-unit="${layer} ${index}"]`)?.focus();
  }

  #showUnits() {
    if (!byId("all-units").open || !this.model) return;
    const { layer, index } = this.unit;
    const best = new Map();
    for (const cell of this.known.get(this.model.name) ?? []) {
      if (cell.layer === layer && isClear(cell) && !best.has(cell.index)) best.set(cell.index, cell.tracks);
    }
    const units = Array.from({ length: this.model.hidden_size }, (_, each) => {
      const unit = make("span", { id: `unit-${each}`, title: `${each}${best.has(each) ? `: ${best.get(each)}` : ""}` });
      unit.setAttribute("role", "option");
      unit.setAttribute("aria-label", unit.title);
      unit.setAttribute("aria-selected", each === index);
      unit.classList.toggle("known", best.has(each));
      return unit;
    });
    byId("units").replaceChildren(...units);
    byId("units").setAttribute("aria-activedescendant", `unit-${index}`);
  }

  #listenToUnits() {
    const units = byId("units");
    units.addEventListener("click", ({ target }) => {
      if (target.id.startsWith("unit-")) this.choose({ layer: this.unit.layer, index: Number(target.id.slice(5)) });
    });
    units.addEventListener("keydown", (event) => {
      if (!this.model) return;
      const across = getComputedStyle(units).gridTemplateColumns.split(" ").length;
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
      const to = { Home: 0, End: this.model.hidden_size - 1 }[event.key] ?? this.unit.index + by;
      if (Number.isNaN(to)) return;
      event.preventDefault();
      this.choose({ layer: this.unit.layer, index: to });
      byId(`unit-${this.unit.index}`).scrollIntoView({ block: "nearest" });
    });
  }
}

const isClear = ({ correlation }) => Math.abs(correlation) >= CLEAR;

/** A correlation as a number and as a bar. */
function strength(correlation) {
  const fill = make("span");
  fill.style.transform = `scaleX(${Math.abs(correlation)})`;
  const number = make("small", {}, `${correlation < 0 ? "−" : "+"}${Math.abs(correlation).toFixed(2)}`);
  return [number, make("span", { className: "strength" }, fill)];
}

/** The value of a column's colours at an item, as text. */
export function readingAt({ colours }, item, sign) {
  const { mode, unit, reading } = colours;
  if (reading) return "Reading the text …";
  if (!item) return "";
  if (mode === "surprise") {
    const bits = colours.bits(item);
    return bits === undefined ? "" : `${bits.toFixed(1)} bits at ${sign}`;
  }
  if (item.activation === undefined) return "";
  const value = `${item.activation < 0 ? "−" : "+"}${Math.abs(item.activation).toFixed(2)}`;
  const name = nameOf(unit);
  return `${name[0].toUpperCase()}${name.slice(1)}: ${value} at ${sign}`;
}
