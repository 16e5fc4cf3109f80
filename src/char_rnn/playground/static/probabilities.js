/* The probabilities a character was drawn from, as bars. */

import { byId, fillRange, make, percent, sign, spoken } from "./dom.js";

const BEFORE = 24;

export class Probabilities {
  /** `onChoose(index, [text, probability])`: go on with that character in the place of the one that was drawn. */
  constructor({ onChoose, onMove }) {
    this.rows = [];
    this.bars = byId("bars");
    this.position = byId("position");
    this.onChoose = onChoose;
    this.position.addEventListener("input", () => onMove(Number(this.position.value) - 1));
    byId("latest").addEventListener("click", () => onMove(null));
  }

  /** Show what stands behind `items[index]`; the last one where index is null. */
  show(items, index) {
    const at = index ?? items.length - 1;
    const item = items[at];
    this.items = items;
    this.index = at;
    this.#showWalk(items, at);
    const choices = item?.alternatives ? choicesOf(item) : [];
    byId("bars-hint").hidden = choices.length > 0 || Boolean(item && !item.alternatives);
    this.#showContext(items, at);
    choices.forEach((choice, row) => this.#row(row).show(choice, item));
    this.rows.forEach((row, number) => (row.element.hidden = number >= choices.length));
  }

  #showWalk(items, at) {
    byId("walk").hidden = items.length === 0;
    if (!items.length) return;
    this.position.min = 1;
    this.position.max = items.length;
    this.position.value = at + 1;
    fillRange(this.position);
    byId("position-text").textContent = `${at + 1} of ${items.length}`;
    const item = items[at];
    const chance = item.probability === undefined ? "given" : percent(item.probability);
    this.position.setAttribute("aria-valuetext", `${at + 1} of ${items.length}: ${spoken(item.text)}, ${chance}`);
  }

  #showContext(items, at) {
    const item = items[at];
    const context = byId("context");
    context.hidden = !item;
    if (!item) return;
    const before = items.slice(Math.max(0, at - BEFORE), at);
    const told = item.alternatives ? "" : item.prime ? " was given" : "";
    context.replaceChildren(
      make("span", { className: "before" }, before.map(({ text }) => (text === " " ? text : sign(text))).join("")),
      make("strong", {}, sign(item.text)),
      told,
    );
  }

  #row(number) {
    this.rows[number] ??= new Bar(this.bars, (choice) => this.onChoose(this.index, choice));
    return this.rows[number];
  }
}

/** The likeliest characters, and the drawn one where it is not among them. */
function choicesOf({ text, probability, alternatives }) {
  if (alternatives.some(([each]) => each === text)) return alternatives;
  return [...alternatives, [text, probability]];
}

class Bar {
  constructor(list, onChoose) {
    this.sign = make("span", { className: "sign" });
    this.fill = make("span", { className: "fill" });
    this.percent = make("span", { className: "percent" });
    this.button = make("button", { type: "button" }, this.sign, make("span", { className: "track" }, this.fill), this.percent);
    this.element = list.appendChild(make("li", {}, this.button));
    this.button.addEventListener("click", () => onChoose(this.choice));
  }

  show(choice, item) {
    const [text, probability] = choice;
    const drawn = text === item.text;
    this.choice = choice;
    this.sign.textContent = sign(text);
    this.fill.style.transform = `scaleX(${Math.max(probability, 0.002)})`;
    this.percent.textContent = percent(probability);
    this.element.classList.toggle("drawn", drawn);
    this.button.disabled = [...text].length !== 1; // a byte that is no character alone
    this.button.setAttribute(
      "aria-label",
      `${spoken(text)}, ${percent(probability)}${drawn ? ", the one drawn" : ""}. Go on with it from here`,
    );
    this.button.title = drawn ? "The one drawn" : "Go on with this one from here";
  }
}
