/* What the model expects while a person types: the next characters as bars, and the surprise of the words in their field. */

import { byId, make } from "./dom.js";
import { surpriseLook } from "./colours.js";
import { lastOf } from "./column_colours.js";

const PAUSE = 150; // milliseconds without a key before the model is asked
const MOST_READ = 1000; // characters
const EXPECTED = 10; // bars

export class Expectations {
  constructor(playground, inspector) {
    Object.assign(this, { playground, inspector, field: byId("prime"), shades: byId("shades"), known: [], bits: [] });
    this.field.addEventListener("input", () => {
      this.#shade();
      if (this.#hasFocus()) this.#ask();
    });
    this.field.addEventListener("focus", () => this.#ask());
    document.addEventListener("selectionchange", () => this.#hasFocus() && this.#ask());
    this.field.addEventListener("scroll", () => (this.shades.scrollTop = this.field.scrollTop));
    byId("bars").addEventListener("pointerdown", (event) => this.#hasFocus() && event.preventDefault()); // so that the field keeps the focus
    playground.on("activate", () => {
      this.known = [];
      if (inspector.expected || this.asking) this.#ask(0);
    });
    const drop = () => {
      clearTimeout(this.timer);
      this.timer = null;
    };
    for (const event of ["begin", "pick", "step"]) playground.on(event, drop); // or the answer would replace what they show
  }

  #hasFocus() {
    return document.activeElement === this.field;
  }

  #ask(pause = PAUSE) {
    clearTimeout(this.timer);
    if (this.playground.active) this.timer = setTimeout(() => this.#answer(), pause);
  }

  async #answer() {
    const { timer, playground, inspector } = this;
    if (this.asking) {
      this.#ask();
      return;
    }
    this.asking = true;
    const { value, selectionEnd } = this.field;
    const model = playground.active.model.name;
    const before = value.slice(0, selectionEnd);
    const score = (text) => playground.backend.score({ model, text: lastOf(text, MOST_READ), alternatives: EXPECTED });
    try {
      const { log_probs, next = [] } = await score(before);
      const all = before === value ? log_probs : (await score(value)).log_probs;
      if (timer !== this.timer) return;
      this.known = [...lastOf(value, MOST_READ)];
      this.bits = all.map((each) => -(each ?? 0) / Math.LN2);
      this.#shade();
      inspector.expect({ before, next, choose: (text) => this.#add(text) });
    } catch {
      // a model that is busy is asked again at the next key
    } finally {
      this.asking = false;
    }
  }

  #add(text) {
    const { field } = this;
    field.setRangeText(text, field.selectionEnd, field.selectionEnd, "end");
    this.#shade();
    this.#ask(0);
  }

  /* Until the model has read the latest words, those before the change keep their shades. */
  #shade() {
    const { value } = this.field;
    const unread = value.length - lastOf(value, MOST_READ).length;
    const characters = [...value.slice(unread)];
    const changed = characters.findIndex((each, place) => each !== this.known[place]);
    const shaded = characters.map((each, place) => {
      const look = changed < 0 || place < changed ? surpriseLook(this.bits[place] ?? 0) : "";
      return look ? make("span", { className: look }, each) : each;
    });
    this.shades.replaceChildren(value.slice(0, unread), ...shaded, "\n");
    this.shades.scrollTop = this.field.scrollTop;
  }
}
