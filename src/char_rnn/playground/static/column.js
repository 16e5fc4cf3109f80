/* One model and its text: writing, stopping, going on, and colouring what stands there. */

import { grouped } from "./dom.js";
import { activationLook, bitsOf, extentFor, surpriseLook } from "./colours.js";
import { columnParts, factsOf } from "./column_parts.js";
import { typefaceFor } from "./looks.js";
import { TextView } from "./text_view.js";

export class Column {
  /** `on`: {activate(column), change(column), point(column, index), pick(column, index),
   *  step(column, by), model(column), copy(column), remove(column)}. */
  constructor(backend, { models, limits }, on) {
    this.backend = backend;
    this.models = models;
    this.limits = limits;
    this.mode = "none";
    this.unit = null;
    this.extent = 1;
    this.reading = 0; // how many times the model is reading the text for its colours
    this.#build(on);
    this.#showModel();
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

  /** Take another model. */
  choose(name) {
    this.select.value = name;
    this.#showModel();
  }

  /** Begin anew with `request.prime`. */
  write(request) {
    this.view.clear();
    this.view.point(null);
    return this.#run(request);
  }

  /** Go on from the first `count` items, and from `chosen` after them if it is given. */
  goOn(request, count = this.items.length, chosen = null) {
    this.view.cut(count);
    if (chosen) this.view.append([chosen]);
    return this.#run({ ...request, prime: this.view.text() }, true);
  }

  stop() {
    this.control?.abort();
  }

  /** Show a text as it was. */
  restore(items) {
    this.stop();
    this.control = this.outcome = null; // what was being written is not told of
    this.#rest();
    this.view.clear();
    this.view.append(items.map(({ activation, surprise, ...item }) => item)); // of whichever cell and model it was
    this.view.flush();
    this.trouble.hidden = true;
    this.meter.textContent = this.rate.textContent = "";
    this.empty.hidden = items.length > 0;
    this.colour(this.mode, this.unit);
  }

  /** Show a text that nothing has been written after yet. */
  showPrime(text) {
    this.view.clear();
    this.view.append([...text].map((each) => ({ text: each, prime: true })));
    this.view.flush();
    this.pane.scrollTop = 0;
    this.empty.hidden = text !== "";
  }

  /** Colour by nothing ("none"), the activation of `unit` ("cell") or the surprise at each character ("surprise"). */
  async colour(mode, unit) {
    const changed = mode === "cell" && !sameUnit(unit, this.unit);
    this.mode = mode;
    if (mode === "cell") this.unit = unit;
    if (changed) for (const item of this.items) delete item.activation;
    this.#recolour();
    await this.#fill();
  }

  /** The bits that an item cost this model, as far as they are known. */
  bits({ surprise, probability, model }) {
    return surprise ?? (model === this.model.name ? bitsOf(probability) : undefined);
  }

  setActive(active) {
    this.element.classList.toggle("active", active);
  }

  async #run(request, further = false) {
    this.stop();
    const control = new AbortController();
    this.control = control;
    this.element.classList.add("writing");
    this.pane.setAttribute("aria-busy", "true");
    this.empty.hidden = true;
    this.trouble.hidden = true;
    this.outcome = null;
    this.written = 0;
    this.began = performance.now();
    const unit = this.mode === "cell" ? this.unit : null;
    const prime = lastOf(request.prime, this.limits.prime);
    this.shortened = prime !== request.prime;
    const model = this.model.name;
    await this.backend.generate(
      { ...request, prime, model, unit },
      {
        signal: control.signal,
        onStart: (start) => this.#started(start, unit, further ? prime : null),
        onCharacters: ({ characters }) => this.#received(characters.map((each) => ({ ...each, model })), unit),
        onDone: (done) => this.#ended({ done }),
        onError: ({ message }) => this.#ended({ message }),
      },
    );
    if (this.control !== control) return;
    this.control = null;
    this.outcome ??= { stopped: true };
    this.#settle();
  }

  /* `shown`: the text that stands there already and is read again; null where there is none. */
  #started({ prime, activations }, unit, shown) {
    this.began = performance.now();
    const read = [...prime];
    if (shown === null) this.view.append(read.map((text) => ({ text, prime: true })));
    else if (prime !== shown) return; // with other characters for those that the model has never seen
    if (activations?.length === read.length && sameUnit(unit, this.unit)) setLast(this.items, activations);
  }

  #received(characters, unit) {
    if (!sameUnit(unit, this.unit)) for (const each of characters) delete each.activation;
    this.view.append(characters);
    this.written += characters.length;
    this.news ??= requestAnimationFrame(() => this.#progress());
  }

  #progress() {
    this.news = undefined;
    this.#widen();
    const seconds = (performance.now() - this.began) / 1000;
    if (this.running && seconds > 0.05) this.#speed(this.written, seconds);
    this.on.change(this);
  }

  #ended(outcome) {
    this.outcome = outcome;
  }

  #rest() {
    this.element.classList.remove("writing");
    this.pane.removeAttribute("aria-busy");
  }

  #settle() {
    this.#rest();
    const { done, message } = this.outcome;
    if (message) {
      this.trouble.textContent = message;
      this.trouble.hidden = false;
    }
    this.#speed(done?.characters ?? this.written, done?.seconds ?? (performance.now() - this.began) / 1000);
    this.view.flush();
    this.on.change(this);
    this.#fill();
  }

  #speed(characters, seconds) {
    const rate = characters && seconds > 0 ? `${grouped(characters / seconds)} characters/s` : "";
    this.meter.textContent = characters ? `${grouped(characters)} characters` : "";
    this.rate.textContent = rate;
  }

  /** Ask for the numbers that the colours need and the items lack. */
  async #fill() {
    const { mode, unit, items } = this;
    const key = mode === "cell" ? "activation" : "surprise";
    const lacking = items.findLastIndex((item) => this.#value(item) === undefined);
    if (mode === "none" || this.running || lacking < 0) return;
    const asked = items.slice(0, lacking + 1);
    const text = lastOf(asked.map((item) => item.text).join(""), this.limits.prime);
    this.#reads(1);
    try {
      const values = await this.#ask(mode, unit, text);
      if (mode !== this.mode || items !== this.items || items[lacking] !== asked[lacking]) return;
      if (mode === "cell" && !sameUnit(unit, this.unit)) return;
      setLast(asked, values, key);
      this.#recolour();
    } catch (error) {
      this.trouble.textContent = error.message;
      this.trouble.hidden = false;
    } finally {
      this.#reads(-1);
    }
  }

  #reads(more) {
    this.reading += more;
    this.on.change(this);
  }

  async #ask(mode, unit, text) {
    const question = { model: this.model.name, text };
    if (mode === "cell") {
      return (await this.backend.activations({ ...question, layer: unit.layer, unit: unit.index })).activations;
    }
    return (await this.backend.score(question)).log_probs.map((value) => (value === null ? 0 : -value / Math.LN2));
  }

  #value(item) {
    return this.mode === "cell" ? item.activation : this.bits(item);
  }

  #recolour() {
    this.extent = extentFor(this.#largest() || 1);
    const { extent } = this;
    this.view.lookOf = {
      none: () => "",
      cell: ({ activation }) => (activation === undefined ? "" : activationLook(activation, extent)),
      surprise: (item) => surpriseLook(this.#value(item) ?? 0),
    }[this.mode];
    this.pane.classList.toggle("coloured", this.mode !== "none");
    this.view.redraw();
  }

  /** Colour anew when an activation has gone beyond the scale. */
  #widen() {
    if (this.mode === "cell" && extentFor(this.#largest() || 1) !== this.extent) this.#recolour();
  }

  #largest() {
    return this.items.reduce((largest, { activation }) => Math.max(largest, Math.abs(activation ?? 0)), 0);
  }

  #build(on) {
    this.on = on;
    Object.assign(this, columnParts(this.models));
    this.view = new TextView(this.pane, {
      onPoint: (index) => on.point(this, index),
      onPick: (index) => on.pick(this, index),
    });
    this.#listen(on);
  }

  #listen(on) {
    this.element.addEventListener("focusin", () => on.activate(this));
    this.element.addEventListener("pointerdown", () => on.activate(this));
    this.remove.addEventListener("click", () => on.remove(this));
    this.select.addEventListener("change", () => {
      this.stop();
      this.unit = null;
      for (const item of this.items) delete item.surprise;
      this.#showModel();
      on.model(this);
    });
    this.copy.addEventListener("click", () => on.copy(this));
    this.pane.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      on.step(this, by);
    });
  }

  #showModel() {
    this.facts.textContent = factsOf(this.model);
    this.pane.setAttribute("aria-label", `Text by ${this.model.name}`);
    this.element.dataset.typeface = typefaceFor(this.model);
  }
}

export const sameUnit = (one, other) => one?.layer === other?.layer && one?.index === other?.index;

/** The last `count` characters of a text. */
export function lastOf(text, count) {
  const all = [...text];
  return all.length > count ? all.slice(-count).join("") : text;
}

/** Give the last items the values of their characters; an item may be part of a character, or several. */
function setLast(items, values, key = "activation") {
  let last = values.length - 1;
  for (let index = items.length - 1; index >= 0 && last >= 0; index -= 1) {
    items[index][key] = values[last];
    last -= [...items[index].text].length;
  }
}
