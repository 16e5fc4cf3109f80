/* Look inside: which colours the text has, which cell they are of, and the cells that track something. */

import { byId, make } from "./dom.js";
import { legendOf } from "./colours.js";

export class Cells {
  /** `onChange()`: the colours or the cell have been chosen. */
  constructor(backend, onChange) {
    this.backend = backend;
    this.onChange = onChange;
    this.known = new Map(); // model -> its cells that track something
    this.unit = { layer: 0, index: 0 };
    byId("colour").addEventListener("change", () => {
      this.#showFound();
      onChange();
    });
    byId("layer").addEventListener("change", () => this.choose({ layer: Number(byId("layer").value), index: this.unit.index }));
    byId("unit").addEventListener("change", () => this.choose({ layer: this.unit.layer, index: Number(byId("unit").value) }));
    byId("find-cells").addEventListener("click", () => this.#find());
    byId("all-units").addEventListener("toggle", () => this.#showUnits());
    this.#listenToUnits();
  }

  get mode() {
    return document.querySelector("#colour input:checked").value;
  }

  /** Show the choice of a column: its model and its cell. */
  showColumn(column, several) {
    this.model = column.model;
    this.unit = column.unit ?? { layer: this.model.num_layers - 1, index: 0 };
    byId("whose").textContent = several ? this.model.name : "";
    this.#show();
    this.#showFound();
  }

  /** Colour by this cell. */
  choose({ layer, index }) {
    const { num_layers, hidden_size } = this.model;
    const held = (value, count) => Math.max(0, Math.min(count - 1, Math.round(value) || 0));
    this.unit = { layer: held(layer, num_layers), index: held(index, hidden_size) };
    document.querySelector("#colour input[value=cell]").checked = true;
    this.#show();
    this.#showFound();
    this.onChange();
  }

  /** The legend of a column's colours, and what it reads at a character. */
  showLegend({ mode, extent }, reading) {
    byId("legend").hidden = mode === "none";
    if (mode === "none") return;
    const { classes, ends } = legendOf(mode, extent);
    byId("scale").replaceChildren(...classes.map((className) => make("i", { className })));
    byId("ends").replaceChildren(...ends.map((text) => make("span", {}, text)));
    byId("reading").textContent = reading;
  }

  #show() {
    const { num_layers, hidden_size } = this.model;
    const layers = Array.from({ length: num_layers }, (_, layer) => make("option", { value: layer }, String(layer + 1)));
    byId("layer").replaceChildren(...layers);
    byId("layer").value = this.unit.layer;
    byId("unit").max = hidden_size - 1;
    byId("unit").value = this.unit.index;
    this.#showUnits();
  }

  async #find() {
    const { name } = this.model;
    const button = byId("find-cells");
    button.disabled = true;
    button.textContent = "Looking …";
    try {
      this.known.set(name, (await this.backend.cells(name)).cells);
    } catch (error) {
      byId("found").replaceChildren(make("p", { className: "trouble" }, error.message));
      return;
    } finally {
      button.disabled = false;
      button.textContent = "Find cells that track something";
    }
    this.#showFound();
    this.#showUnits();
  }

  #showFound() {
    const cells = this.known.get(this.model.name);
    byId("find-cells").hidden = Boolean(cells);
    if (!cells?.length) {
      const none = "No cell of this model follows quotes, lines, indentation or brackets. Try the cells one by one.";
      byId("found").replaceChildren(...(cells ? [make("p", { className: "hint" }, none)] : []));
      return;
    }
    const groups = new Map();
    for (const cell of cells) groups.set(cell.tracks, [...(groups.get(cell.tracks) ?? []), cell]);
    const key = make("p", { className: "hint" }, "Layer · cell, and how closely it follows");
    byId("found").replaceChildren(...[...groups].map(([tracks, members]) => this.#group(tracks, members)), key);
  }

  #group(tracks, cells) {
    const chips = cells.map((cell) => {
      const { layer, index, correlation } = cell;
      const chip = make("button", { type: "button", className: "chip" }, `${layer + 1}·${index} `, strength(correlation));
      chip.setAttribute("aria-label", `Layer ${layer + 1}, cell ${index}, correlation ${correlation.toFixed(2)}`);
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
    byId("found").querySelector(`[aria-label^="Layer ${layer + 1}, cell ${index},"]`)?.focus();
  }

  #showUnits() {
    if (!byId("all-units").open || !this.model) return;
    const { layer, index } = this.unit;
    const best = new Map();
    for (const cell of this.known.get(this.model.name) ?? []) {
      if (cell.layer === layer && !best.has(cell.index)) best.set(cell.index, cell.tracks);
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

function strength(correlation) {
  return make("small", {}, `${correlation < 0 ? "−" : "+"}${Math.abs(correlation).toFixed(2)}`);
}
