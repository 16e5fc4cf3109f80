/* The settings of a text: the sliders, and their fields of the request. */

import { byId, fillRange, make, unescaped } from "./dom.js";

/* `off`: the value without effect; `least`: the smallest number, if the slider begins at a larger one. */
const SLIDERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, value: 0.8, help: "Low: predictable; high: varied; 0: always the likeliest character" },
  { name: "final_temperature", label: "Final temperature", min: 0, max: 2, step: 0.05, value: 0.8, help: "Reached linearly at the end of the text" },
  { name: "length", label: "Length", least: 1, min: 50, max: 5000, step: 50, value: 600, help: "Characters to write" },
  { name: "top_k", label: "Top-k", min: 0, max: 100, step: 1, value: 0, off: 0, help: "Only the k likeliest characters" },
  { name: "top_p", label: "Top-p", min: 0.05, max: 1, step: 0.01, value: 1, off: 1, help: "Only the likeliest characters that together reach this probability" },
  { name: "min_p", label: "Min-p", min: 0, max: 0.5, step: 0.01, value: 0, off: 0, help: "Only characters at least this fraction as likely as the likeliest" },
  { name: "typical_p", label: "Typical-p", min: 0.05, max: 1, step: 0.01, value: 1, off: 1, help: "Only characters whose surprise is close to the expected one" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 1, max: 2, step: 0.05, value: 1, off: 1, help: "Makes recent characters less likely" },
  { name: "repetition_window", label: "Repetition window", min: 8, max: 512, step: 8, value: 64, help: "Number of recent characters" },
];
const ALTERNATIVES = 10;

export class Settings {
  constructor() {
    this.rows = new Map(SLIDERS.map((slider) => [slider.name, new Slider(slider)]));
    this.schedule = make("input", { type: "checkbox", id: "schedule" });
    const label = make("label", { className: "check" }, this.schedule, " Change it over the text");
    byId("sliders").append(...[...this.rows.values()].map((row) => row.element));
    this.rows.get("temperature").element.append(label);
    byId("sliders").addEventListener("input", () => this.#show());
    this.schedule.addEventListener("change", () => this.#show());
    byId("reset").addEventListener("click", () => this.reset());
    this.#show();
  }

  /** Apply the limits of the server and the models. */
  limit({ length, symbols }) {
    if (length) this.rows.get("length").limit(length);
    if (symbols) this.rows.get("top_k").limit(symbols);
  }

  reset() {
    for (const row of this.rows.values()) row.set(row.initial);
    this.schedule.checked = byId("stop-at-newline").checked = false;
    for (const id of ["allowed", "banned", "stop-texts"]) byId(id).value = "";
    byId("unknown").selectedIndex = 0;
    this.#show();
  }

  /** The request without model, prime, seed and unit. */
  request() {
    const row = (name) => this.rows.get(name).request();
    return {
      length: row("length"),
      stop: unescapedLines(byId("stop-texts").value),
      stop_at_newline: byId("stop-at-newline").checked,
      unknown: byId("unknown").value,
      temperature: row("temperature"),
      final_temperature: this.schedule.checked ? row("final_temperature") : null,
      top_k: row("top_k"),
      top_p: row("top_p"),
      min_p: row("min_p"),
      typical_p: row("typical_p"),
      repetition_penalty: row("repetition_penalty") ?? 1,
      repetition_window: row("repetition_window"),
      banned: unescaped(byId("banned").value),
      allowed: unescaped(byId("allowed").value) || null,
      alternatives: ALTERNATIVES,
    };
  }

  #show() {
    this.rows.get("final_temperature").element.hidden = !this.schedule.checked;
    this.rows.get("repetition_window").element.hidden = this.rows.get("repetition_penalty").request() === null;
  }
}

const unescapedLines = (text) => text.split("\n").filter(Boolean).map(unescaped);

/** A slider and a number field with the same value. */
class Slider {
  constructor({ name, label, least, min, max, step, value, off, help }) {
    this.initial = value;
    this.off = off;
    this.range = make("input", { type: "range", id: `${name}-range`, min, max, step, value });
    this.number = make("input", { type: "number", id: name, min: least ?? min, max, step: least ?? step, value });
    this.range.setAttribute("aria-label", label);
    this.range.setAttribute("aria-describedby", `${name}-help`);
    this.state = make("span", { className: "off" });
    const caption = make("div", { className: "caption" }, make("label", { htmlFor: name }, label), this.state, this.number);
    const note = make("p", { className: "hint", id: `${name}-help` }, help);
    this.element = make("div", { className: "slider" }, caption, this.range, note);
    this.range.addEventListener("input", () => this.set(this.range.value));
    this.number.addEventListener("input", () => this.number.value && this.#show(this.number.value));
    this.number.addEventListener("change", () => this.set(this.#held(this.number.value)));
    this.#show(value);
  }

  set(value) {
    this.number.value = value;
    this.#show(value);
  }

  limit(max) {
    this.number.max = max;
    this.range.max = Math.min(max, Math.max(this.range.max, 100));
    this.set(this.#held(this.number.value));
  }

  /** The value in the request; null if it has no effect. */
  request() {
    const value = this.#held(this.number.value);
    return value === this.off ? null : value;
  }

  #held(text) {
    const value = text === "" ? this.initial : Number(text);
    return Math.max(Number(this.number.min), Math.min(Number(this.number.max), value));
  }

  #show(value) {
    this.range.value = value;
    const off = Number(value) === this.off;
    this.state.textContent = off ? "off" : "";
    this.element.classList.toggle("idle", off);
    this.range.setAttribute("aria-valuetext", off ? "off" : String(value));
    fillRange(this.range);
  }
}
