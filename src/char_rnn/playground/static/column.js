/* One model and its text: write, stop and continue. */

import { Branches } from "./branches.js";
import { counted, grouped, make, unitOf } from "./dom.js";
import { ColumnColours, lastOf, sameUnit, setLast } from "./column_colours.js";
import { columnParts, factsOf, readAs } from "./column_parts.js";
import { typefaceFor } from "./looks.js";
import { TextView } from "./text_view.js";

const SHORTEST = 0.05; // seconds before the first speed is shown

export class Column {
  isWatched = () => false; // whether the activations of all cells are shown

  constructor(playground) {
    const { backend, offer: { models, limits } } = playground;
    Object.assign(this, { playground, backend, models, limits }, columnParts(models));
    this.view = new TextView(this.pane, {
      onPoint: (index) => playground.emit("point", this, index),
      onPick: (index) => playground.emit("pick", this, index),
    });
    this.colours = new ColumnColours(this);
    this.branches = new Branches((id) => this.#goTo(id));
    this.note.before(this.branches.element);
    this.#listen(playground);
    this.showModel();
  }

  get items() {
    return this.view.items;
  }

  get model() {
    return this.models.find((model) => model.name === this.select.value);
  }

  get running() {
    return Boolean(this.control);
  }

  /** Choose another model. */
  choose(name) {
    this.stop();
    this.select.value = name;
    this.colours.unit = null;
    for (const item of this.items) delete item.surprise, delete item.copied;
    this.showModel();
  }

  /** Write a new text after `request.prime`. */
  write(request) {
    return this.#run(request, ({ prime }) => {
      this.branches.restore();
      this.view.clear();
      this.view.append(given(prime));
    });
  }

  /** Continue the first `count` items, or open a branch after them with `chosen`. */
  goOn(request, count = this.items.length, chosen = null) {
    const added = chosen ? [chosen] : [];
    const prime = [...this.items.slice(0, count), ...added].map(({ text }) => text).join("");
    return this.#run({ ...request, prime }, () => {
      if (chosen) this.branches.open(this.items, count, chosen.text);
      this.view.cut(count);
      this.view.append(added);
    });
  }

  stop() {
    this.control?.abort();
  }

  /** Show the text slowly, with view.hold(count), or all of it. */
  setSlow(slow) {
    this.slow = slow;
    this.element.classList.toggle("slow", slow);
    this.view.hold(slow ? 0 : Infinity);
  }

  /** Stop, and keep only the first `count` items. */
  keep(count) {
    this.stop();
    this.outcome = { stopped: true };
    this.view.cut(count);
    this.#count();
  }

  #count() {
    this.written = this.items.filter(({ prime }) => !prime).length;
    this.#measure(this.written, 0);
  }

  /** The text, for `restore`. */
  snapshot() {
    return { items: [...this.items], branches: this.branches.snapshot() };
  }

  /** Show a stored text. */
  restore({ items, branches }) {
    this.stop();
    this.branches.restore(branches);
    this.#showItems(items);
  }

  #goTo(branch) {
    this.stop();
    this.#showItems(this.branches.choose(branch, this.items));
    this.playground.restored();
  }

  #showItems(items) {
    this.control = this.outcome = this.begin = null; // nothing is reported of the stopped text
    this.#rest();
    this.view.clear();
    this.view.append(items.map(({ activation, surprise, copied, states, ...item }) => item)); // those were of a cell and a model at that time
    this.view.flush();
    this.trouble.hidden = this.note.hidden = true;
    this.#count();
    this.empty.hidden = items.length > 0;
    this.colours.show(this.colours.mode, this.colours.unit);
  }

  /** Show a prime before anything is written. */
  showPrime(text) {
    this.view.clear();
    this.view.append(given(text));
    this.view.flush();
    this.pane.scrollTop = 0;
    this.empty.hidden = text !== "";
  }

  /** Write with these fields of the request in place of the page's. */
  fix(fields, name, ...buttons) {
    this.fixed = fields;
    this.select.before(make("strong", {}, name));
    this.select.hidden = true;
    this.remove.replaceWith(...buttons);
    this.pane.setAttribute("aria-label", `Text at ${name.toLowerCase()}`);
  }

  setActive(active) {
    this.element.classList.toggle("active", active);
  }

  /** Show an error. */
  complain(message) {
    this.trouble.textContent = message;
    this.trouble.hidden = false;
  }

  /* `replace` replaces the old text only when the new one begins, so a failed request loses nothing. */
  async #run(request, replace) {
    this.stop();
    const control = new AbortController();
    this.control = control;
    this.element.classList.add("writing", "waiting");
    this.pane.setAttribute("aria-busy", "true");
    this.trouble.hidden = true;
    this.outcome = this.begin = null;
    this.written = 0;
    const unit = this.colours.mode === "cell" ? this.colours.unit : null;
    const prime = lastOf(request.prime, this.limits.prime);
    this.shortened = prime !== request.prime;
    const model = this.model.name;
    await this.backend.generate(
      { ...request, ...this.fixed, prime, model, unit, states: this.isWatched() },
      {
        signal: control.signal,
        onStart: (start) => (this.begin = () => this.#begin(start, replace, unit)),
        onCharacters: ({ characters }) => this.#received(characters.map((each) => ({ ...each, model })), unit),
        onDone: (done) => {
          this.begin?.();
          this.outcome = { done };
        },
        onError: ({ message }) => (this.outcome = { message }),
      },
    );
    if (this.control !== control) return;
    this.control = null;
    this.outcome ??= { stopped: true };
    this.#settle();
  }

  #begin(start, replace, unit) {
    this.begin = null;
    this.began = performance.now();
    this.ahead = 0; // characters in the first message
    replace(start);
    const { prime, activations } = start;
    const isThere = this.view.text().endsWith(prime); // false if characters of the prime were replaced
    if (isThere && activations?.length === [...prime].length && sameUnit(unit, this.colours.unit)) {
      setLast(this.items, activations);
    }
    this.element.classList.remove("waiting");
    this.empty.hidden = true;
    this.note.textContent = readAs(start);
    this.note.hidden = !this.note.textContent;
  }

  #received(characters, unit) {
    if (this.begin) {
      this.begin();
      this.ahead = characters.length;
    }
    if (!sameUnit(unit, this.colours.unit)) for (const each of characters) delete each.activation;
    this.view.append(characters);
    this.written += characters.length;
    this.news ??= requestAnimationFrame(() => this.#progress());
  }

  #progress() {
    this.news = undefined;
    this.colours.widen();
    const seconds = (performance.now() - this.began) / 1000;
    if (this.running && seconds > SHORTEST) this.#measure(this.written, (this.written - this.ahead) / seconds);
    this.playground.emit("change", this);
  }

  #rest() {
    this.element.classList.remove("writing", "waiting");
    this.pane.removeAttribute("aria-busy");
  }

  #settle() {
    this.#rest();
    const { done, message } = this.outcome;
    if (message) this.complain(message);
    if (done) this.#measure(done.characters, done.characters / (done.writing_seconds ?? done.seconds));
    this.empty.hidden = this.items.length > 0;
    this.view.flush();
    this.playground.emit("change", this);
    this.colours.fill();
  }

  #measure(count, rate) {
    const unit = unitOf(this.model);
    this.meter.textContent = count ? counted(count, unit) : "";
    this.rate.textContent = rate > 0 && rate < Infinity ? `${grouped(rate)} ${unit}s/s` : "";
  }

  #listen(playground) {
    this.element.addEventListener("focusin", () => playground.activate(this));
    this.element.addEventListener("pointerdown", () => playground.activate(this));
    this.remove.addEventListener("click", () => playground.removeColumn(this));
    this.select.addEventListener("change", () => {
      this.choose(this.select.value);
      playground.activate(this, true);
    });
    this.copy.addEventListener("click", () => playground.emit("copy", this));
    this.pane.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      playground.emit("step", this, by);
    });
  }

  /** Show the facts of the model. */
  showModel() {
    this.facts.textContent = factsOf(this.model);
    this.pane.setAttribute("aria-label", `Text by ${this.model.name}`);
    this.element.dataset.typeface = typefaceFor(this.model);
  }
}

const given = (text) => [...text].map((each) => ({ text: each, prime: true }));
