/* What every module needs: making elements, and how characters and numbers are shown and said. */

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
const BYTE = /^\\x([0-9A-F]{2})$/; // what the API calls a byte that is not a character by itself
const SPOKEN = { "": "part of a character", " ": "space", "\n": "new line", "\t": "tab", "\r": "carriage return" };

/** The character as something that can be seen. */
export function sign(text) {
  return SIGNS[text] ?? (isControl(text) ? codePoint(text) : text.replace(BYTE, "⟨$1⟩"));
}

/** The character as something that can be said. */
export function spoken(text) {
  const [, byte] = BYTE.exec(text) ?? [];
  return byte ? `byte ${byte}` : SPOKEN[text] ?? (isControl(text) ? codePoint(text) : `“${text}”`);
}

const isControl = (text) => /^\p{C}$/u.test(text);
const codePoint = (text) => `U+${text.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Whether an item ends bytes that are not a character, for which its text has U+FFFD. */
export const isBroken = ({ text, symbol }) => symbol !== undefined && text.includes("\ufffd");

/** The character that an item completes, or the byte that it is. */
export const shown = (item) => (item.text && !isBroken(item) ? item.text : item.symbol ?? item.text);

/** What a model's symbols are called: "character" or "byte". */
export const unitOf = ({ symbols }) => (symbols.some((each) => BYTE.test(each)) ? "byte" : "character");

/** "1 byte", "2,000 bytes". */
export const counted = (number, unit) => `${grouped(number)} ${unit}${number === 1 ? "" : "s"}`;

/** Turn a control on or off. One that has the focus keeps it: it is off for who uses it, and disabled once it is left. */
export function enable(control, on) {
  const held = !on && control === document.activeElement;
  control.disabled = !on && !held;
  control.removeAttribute("aria-disabled");
  if (!held) return;
  control.setAttribute("aria-disabled", true);
  control.addEventListener("blur", () => (control.disabled = control.hasAttribute("aria-disabled")), { once: true });
}

/** Whether a control answers. */
export const isOn = (control) => !control.disabled && !control.hasAttribute("aria-disabled");

/** Keep a part's place while there is nothing in it. */
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

/** "\n" and "\t" as a person writes them in a field. */
export const unescaped = (text) =>
  text.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter]);

/** What a person chose before; pages opened from disk may have no storage. */
export function remembered(name) {
  try {
    return localStorage.getItem(`char-rnn.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`char-rnn.${name}`, value);
  } catch {
    // then it lasts as long as the page
  }
}
