/* The inspector of the active column: the probabilities at a character, and the colours of the text. */

import { byId, shown, sign, unitOf } from "./dom.js";
import { Probabilities } from "./probabilities.js";
import { Cells, readingAt } from "./cells.js";
import { Sheet } from "./sheet.js";

export class Inspector {
  constructor(playground) {
    this.playground = playground;
    this.pinned = this.pointed = null; // the inspected character, and the one under the mouse; null: the latest
    this.probabilities = new Probabilities({
      onChoose: (index, choice) => (index === null ? this.expected.choose(choice[0]) : playground.goOnWith(index, choice)),
      onMove: (index) => this.pin(playground.active, index),
    });
    this.cells = new Cells(playground.backend, () => this.colour());
    this.sheet = new Sheet(() => playground.active?.element.scrollIntoView({ block: "start" }));
    this.#listen();
  }

  #listen() {
    const { playground } = this;
    playground.on("activate", (column, anew) => this.#activate(column, anew));
    playground.on("column", () => this.colour());
    playground.on("begin", () => (this.pinned = this.expected = null));
    playground.on("better", (name) => (this.replaced = name));
    playground.on("end", () => this.#findAgain());
    playground.on("restore", () => {
      this.pinned = this.pointed = this.expected = null;
      this.inspect();
    });
    playground.on("change", (column) => column === playground.active && this.inspect());
    playground.on("point", (column, index) => this.#point(column, index));
    playground.on("pick", (column, index) => this.pin(column, index));
    playground.on("step", (column, by) => this.pin(column, (this.pinned ?? column.items.length - (by < 0 ? 1 : 0)) + by));
  }

  #activate(column, anew) {
    this.pinned = null;
    for (const each of this.playground.columns) each.view.point(null);
    this.cells.showColumn(column, this.playground.columns.length > 1);
    if (anew) this.colour();
    else this.inspect();
  }

  /** Colour all texts as the controls say. */
  colour() {
    const { mode, unit } = this.cells;
    const { active, columns } = this.playground;
    const prime = byId("prime").value;
    for (const each of columns) {
      const unwritten = each.items.every((item) => item.prime);
      if (mode !== "none" && unwritten && prime && each.view.text() !== prime) each.showPrime(prime);
      each.colours.show(mode, each === active ? unit : each.colours.unit ?? unitWithin(unit, each.model));
    }
    this.playground.emit("colour");
    this.inspect();
  }

  /* Not as soon as a model is replaced: its run trains on the same machine. */
  #findAgain() {
    const { cells, replaced } = this;
    if (replaced !== cells.model.name || !cells.found.known.has(replaced)) return;
    this.replaced = null;
    cells.found.find(true);
  }

  #point(column, index) {
    if (index !== null) this.playground.activate(column);
    if (column !== this.playground.active) return;
    this.pointed = index;
    this.inspect();
  }

  /** Inspect a character of a column; null: the latest. */
  pin(column, index) {
    this.playground.activate(column);
    const last = column.items.length - 1;
    this.pinned = index === null || index > last ? null : Math.max(0, index);
    this.pointed = this.expected = null;
    this.inspect();
    if (this.pinned === null) return;
    this.sheet.suggest();
    column.view.reveal();
  }

  /** Show what may follow a text that is being typed: {before, next: [[text, probability], ...], choose(text)}. */
  expect(expected) {
    this.expected = expected;
    this.pinned = null;
    this.inspect();
  }

  /** Show the numbers at the inspected character. */
  inspect() {
    const column = this.playground.active;
    const { items, view } = column;
    const chosen = this.pointed ?? this.pinned;
    const index = chosen ?? view.shown - 1;
    view.point(chosen);
    this.probabilities.show(items, index, unitOf(column.model));
    if (this.expected && chosen === null) this.probabilities.expect(this.expected);
    const item = items[index];
    this.cells.showLegend(column.colours, readingAt(column, item, item && sign(shown(item))));
    this.cells.inspect(index);
    this.playground.emit("inspect", column, index);
  }
}

const unitWithin = ({ layer, index }, { num_layers, hidden_size }) => ({
  layer: Math.min(layer, num_layers - 1),
  index: Math.min(index, hidden_size - 1),
});
