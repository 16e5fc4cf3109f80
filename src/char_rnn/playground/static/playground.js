/*
 * The state of the page: its columns of text, and the requests they send.
 *
 * The features (app.js) call its methods and listen to its events, with on(name, listener):
 *
 *   wait()                  there is no model yet
 *   open()                  the models are known, and there is no column yet: the time to restore a page
 *   ready()                 the page is open
 *   column(column)          a column was added
 *   activate(column, anew)  a column became the active one; `anew`: it, or its model, is shown for the first time
 *   begin(columns)          columns begin to write
 *   change(column)          a column has new characters or numbers
 *   end(columns)            columns have ended; nothing writes
 *   better(name)            a better model has replaced this one
 *   generate()              the fields are about to be written from
 *   restore()               earlier texts were restored
 *   undo(before)            the texts are those that `before` was made of
 *   leave()                 the columns are about to be stored or replaced
 *   colour()                the colours, or their cells, have changed
 *   state()                 what can be done has changed: running, canUndo, canContinue
 *   say(text)               a message for the status line
 *   trouble(message)        the models cannot be reached
 *   point, pick (column, index), step(column, by), copy(column)   from a column
 */

import { byId } from "./dom.js";
import { setTypeface, typefaceFor } from "./looks.js";
import { Settings } from "./settings.js";
import { Column } from "./column.js";
import { reportOf } from "./reports.js";

const MOST_COLUMNS = 4;
const SEEDS = 1_000_000; // number of seeds that the page draws from: short enough to note down
const MOST_SEED = 2 ** 32;

export class Playground {
  #listeners = new Map();

  constructor(backend) {
    this.backend = backend;
    this.columns = [];
    this.continued = 0; // continuations of the text
    this.before = []; // [column, its snapshot] before the last change
    this.link = ""; // to the text (link.js)
    this.learned = []; // words that the models learn from (learning.js)
    this.opening = []; // functions of the offer, to wait for before the page opens
    this.settings = new Settings();
  }

  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  /** Call the listeners in the order in which they were added. */
  emit(name, ...values) {
    for (const listener of this.#listeners.get(name) ?? []) listener(...values);
  }

  async open() {
    try {
      this.offer = await this.backend.models();
    } catch (error) {
      this.emit("trouble", error.message);
      return;
    }
    await Promise.all(this.opening.map((each) => each(this.offer)));
    const { models, limits } = this.offer;
    if (!models.length) {
      this.emit("wait");
      return;
    }
    this.settings.limit({ length: limits.length, symbols: Math.max(...models.map(({ symbols }) => symbols.length)) });
    this.settings.begin(models[0].temperature);
    setTypeface(typefaceFor(models[0]));
    this.emit("open");
    if (!this.columns.length) this.addColumn();
    this.activate(this.columns[0], true);
    this.emit("ready");
  }

  /** A better model has replaced this one. */
  async refresh(name) {
    const { models } = await this.backend.models();
    for (const known of this.offer.models) Object.assign(known, models.find((each) => each.name === known.name));
    for (const column of this.columns) column.showModel();
    this.emit("better", name);
  }

  get mostColumns() {
    return Math.min(MOST_COLUMNS, this.offer.limits.streams ?? MOST_COLUMNS);
  }

  get running() {
    return this.columns.some(({ running, slow }) => running || slow);
  }

  get canUndo() {
    return this.before.some(([column, { items }]) => items.some(({ prime }) => !prime) && this.columns.includes(column));
  }

  get canContinue() {
    return !this.running && this.columns.some(({ items }) => items.length);
  }

  say(text) {
    this.emit("say", text);
  }

  /** Write new texts; `again`: with the seed in its field. */
  async generate(again = byId("keep-seed").checked) {
    if (!this.columns.length) return;
    if (!again || byId("seed").value === "") byId("seed").value = Math.floor(Math.random() * SEEDS);
    this.continued = 0;
    this.emit("generate");
    const request = { ...this.settings.request(), prime: byId("prime").value, seed: this.#seed() };
    await this.#run((column) => column.write(request));
  }

  /* The same seed would draw the same random numbers again, so each continuation has the next seed. */
  async continue() {
    this.continued += 1;
    const request = { ...this.settings.request(), seed: this.#seed() };
    await this.#run((column) => column.goOn(request));
  }

  /** Continue the active column's text up to `index` with another character. */
  async goOnWith(index, [text, probability]) {
    const column = this.active;
    const { alternatives, model } = column.items[index];
    this.continued += 1;
    const request = { ...this.settings.request(), seed: this.#seed() };
    await this.#run((each) => each.goOn(request, index, { text, probability, alternatives, model }), [column]);
  }

  #seed() {
    const seed = Math.max(0, Math.floor(Number(byId("seed").value)) || 0);
    return (seed + this.continued) % MOST_SEED;
  }

  async #run(write, columns = this.columns) {
    const { before } = this;
    const own = (this.before = columns.map((column) => [column, column.snapshot()]));
    this.emit("begin", columns);
    this.say(columns.length > 1 ? `Writing ${columns.length} texts …` : "Writing …");
    const ends = columns.map(write);
    this.emit("state");
    await Promise.all(ends);
    if (this.columns.some((column) => column.running)) return;
    if (this.before === own && !this.#hasChanged()) {
      this.emit("undo", this.before);
      this.before = before;
    }
    this.emit("state");
    const ended = columns.filter((column) => this.columns.includes(column));
    if (!ended.length || !ended.every(({ outcome }) => outcome)) return;
    if (!ended.some(({ slow }) => slow)) this.say(reportOf(ended));
    this.emit("end", ended);
  }

  #hasChanged() {
    return this.before.some(([{ items }, { items: old }]) => items.length !== old.length || items.some((item, place) => item !== old[place]));
  }

  stop() {
    for (const column of this.columns) column.stop();
  }

  undo() {
    for (const [column, snapshot] of this.before) column.restore(snapshot);
    this.emit("undo", this.before);
    this.before = [];
    this.restored();
    this.say("Restored the previous text.");
  }

  /** The texts, for `restore`. */
  snapshot() {
    return { continued: this.continued, texts: this.columns.map((column) => column.snapshot()) };
  }

  restore({ continued, texts }) {
    this.continued = continued;
    this.before = [];
    this.columns.forEach((column, place) => column.restore(texts[place]));
    this.restored();
  }

  /** Earlier texts are shown, in place of those that were written. */
  restored() {
    this.emit("restore");
    this.emit("state");
    this.say("This is an earlier text.");
  }

  /** Show other columns in place of these. */
  exchange(columns, active = columns[0]) {
    this.stop();
    byId("columns").replaceChildren(...columns.map(({ element }) => element));
    this.columns = columns;
    this.#showColumns();
    this.activate(active, true);
  }

  /** Show columns of these models. */
  showModels(names) {
    for (const column of this.columns.slice(names.length)) this.#dropColumn(column);
    names.forEach((name, place) => (this.columns[place] ? this.columns[place].choose(name) : this.addColumn(name)));
  }

  /** A column that is not shown yet. */
  newColumn(name) {
    const column = new Column(this);
    if (name) column.choose(name);
    return column;
  }

  addColumn(name) {
    const used = new Set(this.columns.map(({ model }) => model.name));
    const fresh = this.offer.models.find((model) => !used.has(model.name));
    const column = this.newColumn(name ?? fresh?.name);
    this.columns.push(column);
    byId("columns").append(column.element);
    this.#showColumns();
    this.activate(column);
    this.emit("column", column);
    return column;
  }

  #dropColumn(column) {
    column.stop();
    column.element.remove();
    this.columns.splice(this.columns.indexOf(column), 1);
    this.#showColumns();
  }

  removeColumn(column) {
    this.#dropColumn(column);
    this.activate(this.columns[0], true);
    this.columns[0].select.focus();
  }

  #showColumns() {
    const several = this.columns.length > 1;
    for (const column of this.columns) column.remove.hidden = !several;
    byId("columns").dataset.count = this.columns.length;
    this.emit("state");
  }

  /** Make a column the active one; `anew`: also if it is already, because its model is another one. */
  activate(column, anew = false) {
    if (column === this.active && !anew) return;
    this.active = column;
    for (const each of this.columns) each.setActive(each === column && this.columns.length > 1);
    this.emit("activate", column, anew);
  }
}
