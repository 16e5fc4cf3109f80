/* Helpers of all modules: elements, and how characters and numbers are shown and spoken. */

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

const SIGNS = { "": "…", " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍" };
const BYTE = /^\\x([0-9A-F]{2})$/; // a byte that is not a character by itself, as in the API
const SPOKEN = { "": "part of a character", " ": "space", "\n": "new line", "\t": "tab", "\r": "carriage return" };

/** A visible form of a character. */
export function sign(text) {
  return SIGNS[text] ?? (isControl(text) ? codePoint(text) : text.replace(BYTE, "⟨$1⟩"));
}

/** A spoken form of a character. */
export function spoken(text) {
  const [, byte] = BYTE.exec(text) ?? [];
  return byte ? `byte ${byte}` : SPOKEN[text] ?? (isControl(text) ? codePoint(text) : `“${text}”`);
}

const isControl = (text) => /^\p{C}$/u.test(text);
const codePoint = (text) => `U+${text.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Whether an item ends bytes that are not a character; its text then has U+FFFD. */
export const isBroken = ({ text, symbol }) => symbol !== undefined && text.includes("\ufffd");

/** The character that an item completes, or its byte. */
export const shown = (item) => (item.text && !isBroken(item) ? item.text : item.symbol ?? item.text);

/** The unit of a model's symbols: "character" or "byte". */
export const unitOf = ({ symbols }) => (symbols.some((each) => BYTE.test(each)) ? "byte" : "character");

/** "1 byte", "2,000 bytes". */
export const counted = (number, unit) => `${grouped(number)} ${unit}${number === 1 ? "" : "s"}`;

/** Enable or disable a control. One with the focus keeps it, marked as disabled, and is disabled when it loses it. */
export function enable(control, on) {
  const held = !on && control === document.activeElement;
  control.disabled = !on && !held;
  control.removeAttribute("aria-disabled");
  if (!held) return;
  control.setAttribute("aria-disabled", true);
  control.addEventListener("blur", disableIfMarked, { once: true });
}

const disableIfMarked = ({ target }) => (target.disabled = target.hasAttribute("aria-disabled"));

/** Whether a control is enabled. */
export const isOn = (control) => !control.disabled && !control.hasAttribute("aria-disabled");

export const isTicked = ({ type }) => type === "checkbox";

/** Set a field as if a person did. */
export function restoreField(field, value) {
  if (!field) return;
  if (isTicked(field)) field.checked = value;
  else field.value = value;
  for (const event of ["input", "change"]) field.dispatchEvent(new Event(event, { bubbles: true }));
}

/** Hide a part, but keep its space. */
export const blank = (part, on) => part.classList.toggle("blank", on);

/** Colour a slider up to its thumb. */
export function fillRange(range) {
  const { min, max, value } = range;
  range.style.setProperty("--share", max > min ? (value - min) / (max - min) : 0);
}

export const grouped = (number) => Math.round(number).toLocaleString("en");

export function percent(share) {
  const value = share * 100;
  return `${value >= 10 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : value > 0 ? "<0.1" : "0"}%`;
}

/** Replace \n, \t and \\ by the characters they stand for. */
export const unescaped = (text) =>
  text.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter]);

/** An earlier choice, or null; pages opened from disk may have no storage. */
export function remembered(name, storage = "localStorage") {
  try {
    return window[storage].getItem(`char-rnn.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value, storage = "localStorage") {
  try {
    window[storage].setItem(`char-rnn.${name}`, value);
  } catch {
    // the choice then lasts as long as the page
  }
}
