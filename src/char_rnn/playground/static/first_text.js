/* The first text: the page writes by itself when it opens, slowly enough to read along, until a key or a click. */

import { byId, make, restoreField, sign } from "./dom.js";
import { isLink } from "./link.js";
import { strongest } from "./found_cells.js";
import { reportOf } from "./reports.js";

const PACE = 45; // characters/s
const RESTS = { "\n": 9, ".": 8, "!": 8, "?": 8, ";": 4, ":": 4, ",": 3 }; // pauses after a character, in characters
const LONGEST_FRAME = 100; // milliseconds; a page in the background does not catch up

export function startFirstText(playground, { cells }) {
  let begun = 0;
  let slow = null;
  playground.on("activate", ({ model }) => showPrimes(playground, model.suggested_primes ?? []));
  playground.on("begin", () => {
    begun += 1;
    slow?.end();
  });
  playground.on("ready", async () => {
    const { active: column, columns } = playground;
    const { model } = column;
    const { suggested_primes: primes, symbols } = model;
    if (!primes || byId("prime").value || isLink(location.hash) || columns.some(({ items }) => items.length)) return;
    byId("prime").value = primes[Math.floor(Math.random() * primes.length)] ?? (symbols.includes("\n") ? "\n" : "");
    playground.generate();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) slow = new SlowText(playground, column);
    const best = strongest(await cells.found.find(true));
    if (best && begun === 1 && model === cells.model && column === playground.active && cells.mode === "none") cells.choose(best);
  });
}

/* Buttons that write from a prime out of the training text. */
function showPrimes(playground, primes) {
  const buttons = primes.map((prime) => {
    const shown = [...prime.trim()].map((each) => (each === " " ? each : sign(each))).join("");
    const button = make("button", { type: "button", className: "chip" }, shown);
    button.addEventListener("click", () => {
      restoreField(byId("prime"), prime);
      playground.generate();
    });
    return button;
  });
  byId("primes").replaceChildren(...buttons);
}

/** Holds the characters of a column back, and shows them one by one. */
class SlowText {
  constructor(playground, column) {
    Object.assign(this, { playground, column, shown: 0, due: 0, last: performance.now() });
    this.listening = new AbortController();
    const { signal } = this.listening;
    for (const event of ["keydown", "pointerdown"]) addEventListener(event, () => this.stop(), { capture: true, signal });
    column.setSlow(true);
    playground.say("The model writes. A key or a click stops it.");
    playground.emit("state");
    this.#next();
  }

  stop() {
    this.column.keep(this.shown);
    this.end();
  }

  /** Show the rest. */
  end() {
    if (this.listening.signal.aborted) return;
    this.listening.abort();
    this.column.setSlow(false);
    this.playground.emit("state");
    this.playground.emit("change", this.column);
    this.playground.say(reportOf([this.column]));
  }

  #next() {
    requestAnimationFrame((now) => this.listening.signal.aborted || this.#step(now));
  }

  #step(now) {
    const { items, outcome, view } = this.column;
    this.due = Math.min(0, this.due) + (Math.min(now - this.last, LONGEST_FRAME) * PACE) / 1000;
    this.last = now;
    while (this.shown < items.length && (this.due >= 0 || items[this.shown].prime)) this.#show(items[this.shown]);
    view.hold(this.shown);
    if (items.length) this.playground.emit("change", this.column);
    if (outcome && this.shown >= items.length) this.end();
    else this.#next();
  }

  #show({ prime, text }) {
    this.shown += 1;
    this.due -= prime ? 0 : 1 + (RESTS[text] ?? 0);
  }
}
