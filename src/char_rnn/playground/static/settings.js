/* The settings of a text: the sliders, and their fields of the request. */

import { byId, fillRange, isTicked, make, restoreField, unescaped } from "./dom.js";
import { SAMPLING_OPTIONS } from "./sampling_options.js";

/* `off`: the value without effect; `least`: the smallest number, if the slider begins at a larger one. */
const LENGTH = { name: "length", label: "Length", least: 1, min: 50, max: 5000, step: 50, value: 600, off: null, optional: false, help: "Number of characters to write." };
const SLIDERS = [...SAMPLING_OPTIONS.slice(0, 2), LENGTH, ...SAMPLING_OPTIONS.slice(2)];
const ALTERNATIVES = 10;
const FIELDS = [...SLIDERS.map(({ name }) => name), "schedule", "allowed", "banned", "stop-texts", "stop-at-newline", "unknown"];
const NAMED = ["temperature", "length"]; // in a link even at their defaults, which may change

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
    this.defaults = new Map(FIELDS.map((id) => [id, valueOf(byId(id))]));
    this.#show();
  }

  /** Apply the limits of the server and the models. */
  limit({ length, symbols }) {
    if (length) this.rows.get("length").limit(length);
    if (symbols) this.rows.get("top_k").limit(symbols);
  }

  /** Begin at the temperature of a model. */
  begin(temperature) {
    if (temperature === undefined) return;
    this.rows.get("temperature").begin(temperature);
    this.defaults.set("temperature", byId("temperature").value);
  }

  reset() {
    for (const [id, value] of this.defaults) restoreField(byId(id), value);
  }

  /** The fields that are not at their defaults, [[id, text], ...], for a link. */
  changed() {
    const values = FIELDS.map((id) => [id, valueOf(byId(id))]);
    return values.filter(([id, value]) => NAMED.includes(id) || value !== this.defaults.get(id)).map(([id, value]) => [id, String(value)]);
  }

  /** Set these fields, and all others to their defaults; false if one cannot be set. */
  accept(values) {
    if (!values.every(([id, text]) => FIELDS.includes(id) && isValid(byId(id), text))) return false;
    this.reset();
    for (const [id, text] of values) restoreField(byId(id), isTicked(byId(id)) || text);
    return true;
  }

  /** The request without model, prime, seed and unit. */
  request() {
    const values = [...this.rows].map(([name, row]) => [name, row.request()]);
    return {
      ...Object.fromEntries(values),
      ...(this.schedule.checked ? {} : { final_temperature: null }),
      stop: unescapedLines(byId("stop-texts").value),
      stop_at_newline: byId("stop-at-newline").checked,
      unknown: byId("unknown").value,
      banned: unescaped(byId("banned").value),
      allowed: unescaped(byId("allowed").value) || null,
      alternatives: ALTERNATIVES,
    };
  }

  #show() {
    this.rows.get("final_temperature").element.hidden = !this.schedule.checked;
    this.rows.get("repetition_window").element.hidden = this.rows.get("repetition_penalty").isOff;
  }
}

const valueOf = (field) => (isTicked(field) ? field.checked : field.value);

function isValid(field, text) {
  if (field.type === "number") return text.trim() !== "" && Number.isFinite(Number(text));
  return field.options ? [...field.options].some(({ value }) => value === text) : !isTicked(field) || text === "true";
}

const unescapedLines = (text) => text.split("\n").filter(Boolean).map(unescaped);

/** A slider and a number field with the same value. */
class Slider {
  constructor({ name, label, least, min, max, step, value, off, optional, help }) {
    this.initial = value;
    this.off = off;
    this.optional = optional;
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

  begin(value) {
    this.initial = this.#held(value);
    this.set(this.initial);
  }

  limit(max) {
    this.number.max = max;
    this.range.max = Math.min(max, Math.max(this.range.max, 100));
    this.set(this.#held(this.number.value));
  }

  get isOff() {
    return this.#held(this.number.value) === this.off;
  }

  /** The value in the request; null if it has no effect. */
  request() {
    return this.optional && this.isOff ? null : this.#held(this.number.value);
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
