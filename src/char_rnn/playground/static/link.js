/* A link to a text: its models, prime, seed, settings and colours, after the # of the address. No server sees it. */

import { byId, restoreField } from "./dom.js";

const LONGEST = 4000; // characters
const [MOST_TEXTS, MOST_KEPT] = [10, 200_000]; // texts, and their characters, that Back and Forward show without writing again
const SETTLED = 300; // milliseconds; browsers limit how often a page may change its address
const MODES = ["none", "cell", "surprise", "copied"];
const UNREADABLE = "This link is incomplete, or this page does not have its model. Generate writes a text.";

/** Whether the part of an address after # is meant as a link to a text. */
export const isLink = (hash) => hash.startsWith("#model=");

export class Links {
  constructor(playground, inspector) {
    Object.assign(this, { playground, inspector, kept: new Map(), text: [], earlier: new WeakMap() });
    playground.on("open", () => this.#open());
    playground.on("ready", () => this.#ready());
    playground.on("generate", () => this.#generated());
    playground.on("begin", () => {
      this.earlier.set(playground.before, this.last ?? this.text);
      this.last = null;
    });
    playground.on("undo", (before) => {
      this.text = this.earlier.get(before) ?? this.text;
      this.#show("replaceState");
    });
    playground.on("colour", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#show("replaceState"), SETTLED);
    });
    playground.on("state", () => (byId("copy-link").disabled = !playground.link));
    byId("copy-link").addEventListener("click", () => this.#copy());
    addEventListener("popstate", () => this.#arrive());
  }

  /* The session is restored if it is of the same link; else the link is. */
  #open() {
    const { playground } = this;
    if (playground.columns.length || !isLink(location.hash)) return;
    this.unreadable = !this.#apply(location.hash);
    this.fresh = !this.unreadable;
  }

  #ready() {
    const { playground } = this;
    if (this.unreadable) playground.say(UNREADABLE);
    if (this.fresh) this.#write();
    else if (playground.link) {
      this.text = partsOf(playground.link).filter(([name]) => !isColour(name));
      this.#show("replaceState");
    }
  }

  #generated() {
    const { columns, settings } = this.playground;
    if (this.#isComparison()) return;
    const models = columns.map(({ model }) => ["model", model.name]);
    if (!this.arriving) this.#keep();
    this.last = this.text;
    this.text = [...models, ["prime", byId("prime").value], ["seed", byId("seed").value], ...settings.changed()];
    const isFirst = this.arriving || !this.playground.link || window !== window.top; // a frame leaves the history to its page
    this.#show(isFirst ? "replaceState" : "pushState");
  }

  /* Write the text of the link in the address. */
  #write() {
    this.arriving = true;
    this.playground.generate(true);
    this.arriving = false;
  }

  /* Show the text's link in the address. */
  #show(how) {
    if (!this.text.length || this.#isComparison()) return;
    const link = `#${new URLSearchParams([...this.text, ...this.#colours()])}`;
    const isNew = link !== this.playground.link;
    this.playground.link = link.length > LONGEST ? "" : link;
    if (!isNew && location.hash === link) return;
    try {
      history[how](null, "", this.playground.link || location.pathname + location.search);
    } catch {
      // a frame or a file may not change its address
    }
    this.playground.emit("state");
  }

  /* Whether the columns are those of a comparison, from which a person returns to the text. */
  #isComparison() {
    return this.playground.columns.some(({ fixed }) => fixed);
  }

  #colours() {
    const { mode, unit } = this.inspector.cells;
    if (mode !== "cell") return mode === "none" ? [] : [["colour", mode]];
    return this.playground.columns.map(({ colours }) => colours.unit ?? unit).map(({ layer, index }) => ["cell", `${layer}.${index}`]);
  }

  /* Show the models, fields and colours of a link; false if it cannot be read. */
  #apply(hash) {
    const { playground, inspector } = this;
    const values = new URLSearchParams(hash.slice(1));
    const models = values.getAll("model").map((name) => playground.offer.models.find((model) => model.name === name));
    const cells = values.getAll("cell").map((text, place) => cellOf(text, models[place]));
    const seed = values.get("seed");
    const mode = cells.length ? "cell" : values.get("colour") ?? "none";
    const settings = [...values].filter(([name]) => !isColour(name) && !["model", "prime", "seed"].includes(name));
    const isWhole = models.length <= playground.mostColumns && ![...models, ...cells].includes(undefined) && /^\d{1,10}$/.test(seed);
    if (hash.length > LONGEST || !isWhole || !MODES.includes(mode) || !playground.settings.accept(settings)) return false;
    playground.showModels(models.map(({ name }) => name));
    playground.columns.forEach(({ colours }, place) => {
      colours.show("none"); // until the cell and its numbers are there
      colours.unit = cells[place] ?? null;
    });
    restoreField(byId("prime"), values.get("prime") ?? "");
    restoreField(byId("seed"), seed);
    inspector.cells.setMode(mode === "copied" && !models[0].copied_from ? "none" : mode);
    return true;
  }

  /* Back, Forward, or another link in this page's address. */
  #arrive() {
    const { playground } = this;
    const { hash } = location;
    if (hash === playground.link) return;
    if (!isLink(hash)) {
      this.#show("replaceState"); // a jump within the page
      return;
    }
    playground.emit("leave");
    this.#keep();
    if (!this.#apply(hash)) {
      playground.say(UNREADABLE);
      return;
    }
    playground.link = hash;
    this.text = partsOf(hash).filter(([name]) => !isColour(name));
    const kept = this.kept.get(hash);
    if (kept) playground.restore(kept);
    playground.activate(playground.columns[0], true);
    if (!kept) this.#write();
  }

  #keep() {
    const { playground, kept } = this;
    if (!playground.link) return;
    kept.delete(playground.link);
    kept.set(playground.link, playground.snapshot());
    const size = () => [...kept.values()].flatMap(({ texts }) => texts).reduce((sum, { items }) => sum + items.length, 0);
    while (kept.size > MOST_TEXTS || (kept.size > 1 && size() > MOST_KEPT)) kept.delete(kept.keys().next().value);
  }

  async #copy() {
    const { playground } = this;
    try {
      await navigator.clipboard.writeText(new URL(playground.link, location.href).href);
      playground.say("Copied the link to this text.");
    } catch {
      playground.say("Copy the address of the page: it is the link.");
    }
  }
}

const isColour = (name) => name === "cell" || name === "colour";

const partsOf = (link) => [...new URLSearchParams(link.slice(1))];

/* "1.52": cell 52 of layer 1. */
function cellOf(text, model) {
  const [, layer, index] = /^(\d+)\.(\d+)$/.exec(text)?.map(Number) ?? [];
  return model && layer < model.num_layers && index < model.hidden_size ? { layer, index } : undefined;
}
