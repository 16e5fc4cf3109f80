/* Bars: the probabilities that a character was drawn from. */

import { blank, byId, fillRange, isBroken, make, percent, shown, sign, spoken } from "./dom.js";

const BEFORE = 24;

export class Probabilities {
  /** `onChoose(index, [text, probability])`: continue with this character in place of the drawn one. */
  constructor({ onChoose, onMove }) {
    this.rows = [];
    this.bars = byId("bars");
    this.position = byId("position");
    this.onChoose = onChoose;
    this.position.addEventListener("input", () => onMove(Number(this.position.value) - 1));
    byId("latest").addEventListener("click", () => onMove(null));
  }

  /** Show the probabilities at `items[at]`, if there is one. */
  show(items, at, unit) {
    const item = items[at];
    this.items = items;
    this.index = at;
    byId("position-unit").textContent = unit === "byte" ? "Byte" : "Character";
    this.#showWalk(items, at);
    const choices = item?.alternatives ? choicesOf(item) : [];
    byId("bars-hint").hidden = choices.length > 0 || Boolean(item && !item.alternatives);
    this.#showContext(items, at);
    this.#showBars(choices, item);
  }

  /** Show the probabilities of what may follow a text that is not written yet. */
  expect({ before, next }) {
    this.index = null;
    byId("bars-hint").hidden = next.length > 0 || this.items.length > 0;
    const end = [...before].slice(-BEFORE).map((text) => ({ text }));
    byId("context").replaceChildren(make("span", { className: "before" }, written(end)), make("strong", {}, "\u00a0"));
    this.#showBars(next, null);
  }

  #showBars(choices, item) {
    const focused = this.rows.findIndex(({ button }) => button === document.activeElement);
    choices.forEach((choice, row) => this.#row(row).show(choice, item));
    this.rows.forEach((row, number) => (row.element.hidden = number >= choices.length));
    if (focused >= choices.length) (choices.length ? this.rows[0].button : this.position).focus();
  }

  #showWalk(items, at) {
    blank(byId("walk"), !items[at]);
    if (!items[at]) return;
    this.position.min = 1;
    this.position.max = items.length;
    this.position.value = at + 1;
    fillRange(this.position);
    byId("position-text").textContent = `${at + 1} of ${items.length}`;
    const item = items[at];
    const chance = item.probability === undefined ? "prime" : percent(item.probability);
    this.position.setAttribute("aria-valuetext", `${at + 1} of ${items.length}: ${spoken(shown(item))}, ${chance}`);
  }

  #showContext(items, at) {
    const item = items[at];
    const context = byId("context");
    context.replaceChildren();
    if (!item) return;
    const told = item.prime && !item.alternatives ? " (prime)" : "";
    context.replaceChildren(
      make("span", { className: "before" }, written(items.slice(Math.max(0, at - BEFORE), at))),
      make("strong", {}, sign(shown(item))),
      told,
    );
  }

  #row(number) {
    this.rows[number] ??= new Bar(this.bars, (choice) => this.onChoose(this.index, choice));
    return this.rows[number];
  }
}

/** The text of items; bytes that are not a character yet are shown as bytes. */
function written(items) {
  let pending = "";
  let text = "";
  for (const item of items) {
    const each = item.text === " " ? " " : sign(shown(item));
    if (item.text) text += isBroken(item) ? pending + each : each;
    pending = item.text ? "" : pending + each;
  }
  return text + pending;
}

/** The drawn symbol, as in the alternatives. */
const drawnOf = ({ text, symbol }) => symbol ?? text;

/** The likeliest characters, and the drawn one if it is not among them. */
function choicesOf(item) {
  const drawn = drawnOf(item);
  if (item.alternatives.some(([each]) => each === drawn)) return item.alternatives;
  return [...item.alternatives, [drawn, item.probability]];
}

class Bar {
  constructor(list, onChoose) {
    this.sign = make("span", { className: "sign" });
    this.fill = make("span", { className: "fill" });
    this.percent = make("span", { className: "percent" });
    this.button = make("button", { type: "button" }, this.sign, make("span", { className: "track" }, this.fill), " ", this.percent);
    this.element = list.appendChild(make("li", {}, this.button));
    this.button.addEventListener("click", () => [...this.choice[0]].length === 1 && onChoose(this.choice));
  }

  show(choice, item) {
    const [text, probability] = choice;
    const drawn = item !== null && text === drawnOf(item);
    const use = item ? "Choose it instead" : "Add it";
    this.choice = choice;
    this.sign.textContent = sign(text);
    this.fill.style.transform = `scaleX(${Math.max(probability, 0.002)})`;
    this.percent.textContent = percent(probability);
    this.element.classList.toggle("drawn", drawn);
    const whole = [...text].length === 1; // a byte that is not a character cannot be in a request
    this.button.setAttribute("aria-disabled", !whole);
    this.button.setAttribute(
      "aria-label",
      `${spoken(text)}, ${percent(probability)}${drawn ? ", drawn" : ""}${whole ? `. ${use}` : ""}`,
    );
    this.button.title = drawn ? "Drawn" : whole ? use : "";
  }
}
