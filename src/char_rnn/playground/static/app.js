/* The page: columns of text, the requests they send, and the inspector of the active column. */

import { byId, enable, grouped, isOn, make, shown, sign, unitOf } from "./dom.js";
import { serverBackend } from "./backend_server.js";
import { setTypeface, startLooks, typefaceFor } from "./looks.js";
import { Settings } from "./settings.js";
import { Column } from "./column.js";
import { Probabilities } from "./probabilities.js";
import { Cells, readingAt } from "./cells.js";
import { reportOf } from "./reports.js";
import { storeSession, storedSession } from "./session.js";
import { Sheet } from "./sheet.js";

const MOST_COLUMNS = 4;
const SEEDS = 1_000_000; // number of seeds that the page draws from: short enough to note down
const MOST_SEED = 2 ** 32;

class Playground {
  constructor(backend) {
    this.backend = backend;
    this.columns = [];
    this.pinned = this.pointed = null; // the inspected character, and the one under the mouse; null: the latest
    this.continued = 0;
    this.before = []; // [column, items] before the last change
    this.settings = new Settings();
    this.probabilities = new Probabilities({
      onChoose: (index, choice) => this.#goOnWith(index, choice),
      onMove: (index) => this.#pin(this.active, index),
    });
    this.cells = new Cells(backend, () => this.#colour());
    this.sheet = new Sheet(() => this.active?.element.scrollIntoView({ block: "start" }));
    this.#listen();
  }

  async open() {
    byId("trouble").hidden = true;
    this.#enable(false);
    try {
      this.offer = await this.backend.models();
    } catch (error) {
      this.#refuse(error.message);
      return;
    }
    const { models, limits } = this.offer;
    this.settings.limit({ length: limits.length, symbols: Math.max(...models.map(({ symbols }) => symbols.length)) });
    setTypeface(typefaceFor(models[0]));
    this.#restore(storedSession());
    this.#enable(true);
    this.#say(`${/Mac|iP/.test(navigator.platform) ? "⌘" : "Ctrl+"}Enter generates, Escape stops.`);
  }

  /** Restore the columns of the page before a reload, or open a first one. */
  #restore(session) {
    this.continued = session?.continued ?? 0;
    const isServed = ({ model }) => this.offer.models.some(({ name }) => name === model);
    const columns = session?.columns.filter(isServed).slice(0, this.#mostColumns) ?? [];
    for (const { model, unit, items } of columns) {
      const column = this.#addColumn(model);
      column.colours.unit = unit;
      column.restore(items);
    }
    if (!columns.length) this.#addColumn();
    this.#activate(this.columns[0], true);
    const mode = document.querySelector(`#colour input[value="${session?.mode ?? "none"}"]`);
    if (mode) mode.checked = true;
    this.#colour();
    this.#showRunning();
  }

  #refuse(message) {
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => {
      byId("prime").focus();
      this.open();
    });
    byId("trouble").replaceChildren(make("p", {}, message), again);
    byId("trouble").hidden = false;
  }

  get #mostColumns() {
    return Math.min(MOST_COLUMNS, this.offer.limits.streams ?? MOST_COLUMNS);
  }

  get running() {
    return this.columns.some((column) => column.running);
  }

  async #generate() {
    if (!this.columns.length) return;
    if (!byId("keep-seed").checked || byId("seed").value === "") byId("seed").value = Math.floor(Math.random() * SEEDS);
    this.continued = 0;
    this.pinned = null;
    const request = { ...this.settings.request(), prime: byId("prime").value, seed: this.#seed() };
    await this.#run((column) => column.write(request));
  }

  /* The same seed would draw the same random numbers again, so each continuation has the next seed. */
  async #continue() {
    this.continued += 1;
    this.pinned = null;
    const request = { ...this.settings.request(), seed: this.#seed() };
    await this.#run((column) => column.goOn(request));
  }

  async #goOnWith(index, [text, probability]) {
    const column = this.active;
    const { alternatives, model } = column.items[index];
    this.continued += 1;
    this.pinned = null;
    const request = { ...this.settings.request(), seed: this.#seed() };
    await this.#run((each) => each.goOn(request, index, { text, probability, alternatives, model }), [column]);
  }

  #seed() {
    const seed = Math.max(0, Math.floor(Number(byId("seed").value)) || 0);
    return (seed + this.continued) % MOST_SEED;
  }

  async #run(begin, columns = this.columns) {
    const before = this.before;
    this.before = columns.map((column) => [column, [...column.items]]);
    const ends = columns.map(begin);
    this.#say(columns.length > 1 ? `${columns.length} models are writing …` : "Writing …");
    this.#showRunning();
    await Promise.all(ends);
    if (this.running) return;
    if (!this.#hasChanged()) this.before = before;
    this.#showRunning();
    if (columns.every(({ outcome }) => outcome)) this.#say(reportOf(columns));
  }

  #hasChanged() {
    return this.before.some(([{ items }, old]) => items.length !== old.length || items.some((item, place) => item !== old[place]));
  }

  #stop() {
    for (const column of this.columns) column.stop();
  }

  #takeBack() {
    for (const [column, items] of this.before) column.restore(items);
    this.before = [];
    this.pinned = this.pointed = null;
    this.#inspect();
    this.#showRunning();
    this.#say("Restored the previous text.");
    byId("generate").focus();
  }

  #addColumn(name) {
    const column = new Column(this.backend, this.offer, {
      activate: (each) => this.#activate(each),
      change: (each) => each === this.active && this.#inspect(),
      point: (each, index) => this.#point(each, index),
      pick: (each, index) => this.#pin(each, index),
      step: (each, by) => this.#pin(each, (this.pinned ?? each.items.length - (by < 0 ? 1 : 0)) + by),
      model: (each) => this.#activate(each, true),
      copy: (each) => this.#copy(each),
      remove: (each) => this.#removeColumn(each),
    });
    const used = new Set(this.columns.map(({ model }) => model.name));
    const fresh = this.offer.models.find(({ name }) => !used.has(name));
    if (name ?? fresh) column.choose(name ?? fresh.name);
    this.columns.push(column);
    byId("columns").append(column.element);
    this.#showColumns();
    this.#activate(column);
    this.#colour();
    return column;
  }

  #removeColumn(column) {
    column.stop();
    column.element.remove();
    this.columns.splice(this.columns.indexOf(column), 1);
    this.#showColumns();
    this.#activate(this.columns[0], true);
    this.columns[0].select.focus();
  }

  #showColumns() {
    const several = this.columns.length > 1;
    for (const column of this.columns) column.remove.hidden = !several;
    byId("add").disabled = this.columns.length >= this.#mostColumns;
    byId("columns").dataset.count = this.columns.length;
    this.#showRunning();
  }

  #activate(column, anew = false) {
    if (column === this.active && !anew) return;
    this.active = column;
    this.pinned = null;
    for (const each of this.columns) {
      each.setActive(each === column && this.columns.length > 1);
      each.view.point(null);
    }
    this.cells.showColumn(column, this.columns.length > 1);
    if (anew) this.#colour();
    this.#inspect();
  }

  #colour() {
    const { mode, unit } = this.cells;
    const column = this.active;
    const prime = byId("prime").value;
    for (const each of this.columns) {
      const unwritten = each.items.every((item) => item.prime);
      if (mode !== "none" && unwritten && prime && each.view.text() !== prime) each.showPrime(prime);
      each.colours.show(mode, each === column ? unit : each.colours.unit ?? unitWithin(unit, each.model));
    }
    this.#inspect();
  }

  #point(column, index) {
    if (column !== this.active && index !== null) this.#activate(column);
    if (column !== this.active) return;
    this.pointed = index;
    this.#inspect();
  }

  #pin(column, index) {
    this.#activate(column);
    const last = column.items.length - 1;
    this.pinned = index === null || index > last ? null : Math.max(0, index);
    this.pointed = null;
    this.#inspect();
    if (this.pinned === null) return;
    this.sheet.suggest();
    column.view.reveal();
  }

  #inspect() {
    const column = this.active;
    const index = this.pointed ?? this.pinned;
    const { items } = column;
    column.view.point(index);
    this.probabilities.show(items, index, unitOf(column.model));
    const item = items[index ?? items.length - 1];
    this.cells.showLegend(column.colours, readingAt(column, item, item && sign(shown(item))));
  }

  async #copy(column) {
    const text = column.view.text();
    try {
      await navigator.clipboard.writeText(text);
      this.#say(`Copied ${grouped([...text].length)} characters.`);
    } catch {
      getSelection().selectAllChildren(column.view.body);
      this.#say("The text is selected. Copy it with the keyboard.");
    }
  }

  #say(text) {
    byId("status").textContent = text;
  }

  #enable(on) {
    for (const id of ["generate", "add", "colour", "find-cells", "layer", "unit"]) byId(id).disabled = !on;
  }

  #showRunning() {
    enable(byId("stop"), this.running);
    byId("undo").hidden = !this.before.some(([column, items]) => items.length && this.columns.includes(column));
    enable(byId("continue"), !this.running && this.columns.some(({ items }) => items.length));
  }

  #listen() {
    byId("generate").addEventListener("click", () => this.#generate());
    byId("seed").addEventListener("keydown", ({ key, ctrlKey, metaKey }) => key === "Enter" && !ctrlKey && !metaKey && this.#generate());
    byId("stop").addEventListener("click", () => this.#stop());
    byId("continue").addEventListener("click", () => isOn(byId("continue")) && this.#continue());
    byId("undo").addEventListener("click", () => this.#takeBack());
    byId("add").addEventListener("click", () => this.#addColumn().select.focus());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId(event.shiftKey ? "continue" : "generate").click();
      else if (event.key === "Escape" && this.running) this.#stop();
      else if (event.key === "Escape" && this.sheet.isOpen) this.sheet.close();
      else return;
      event.preventDefault();
    });
    addEventListener("pagehide", () => this.#store());
  }

  #store() {
    const columns = this.columns.map(({ model, colours, items }) => ({ model: model.name, unit: colours.unit, items }));
    if (columns.length) storeSession(columns, { mode: this.cells.mode, continued: this.continued });
  }
}

const unitWithin = ({ layer, index }, { num_layers, hidden_size }) => ({
  layer: Math.min(layer, num_layers - 1),
  index: Math.min(index, hidden_size - 1),
});

startLooks();
new Playground(window.charRnnBackend ?? serverBackend()).open();
