/* The cells that track features: the search for them, and what each does, how strongly, and in the last characters. */

import { byId, enable, isOn, make } from "./dom.js";
import { sameUnit } from "./column_colours.js";

const CLEAR = 0.4; // smaller correlations are not shown: networks with random weights have them too
const SHORTEST_TEXT = 50; // characters to search in
const PATIENCE = [300, 1500]; // milliseconds of a search before its progress is shown, and of one that nobody asked for
const LINE = [80, 18]; // characters of a line of activations, and its height in pixels

/* What a cell does if it rises with a feature, and if it falls. */
const SENTENCES = {
  quotes: ["on inside quotes", "off inside quotes"],
  "line length": ["rises to the end of the line", "falls to the end of the line"],
  indentation: ["rises with the indentation", "falls with the indentation"],
  brackets: ["on inside brackets", "off inside brackets"],
  "word starts": ["on where a word begins", "off where a word begins"],
  capitals: ["on at capitals", "off at capitals"],
};

export class FoundCells {
  /** `onChoose(unit)`, `onPreview(unit)`: as those of the wall; `onFound()`: there are new cells; `text()`: the text on the page. */
  constructor(backend, on) {
    Object.assign(this, on, { backend });
    this.known = new Map(); // model -> its cells that track features
    byId("find-cells").addEventListener("click", () => this.find());
    byId("search-text").addEventListener("click", () => this.find(false, this.text()));
    byId("cancel-search").addEventListener("click", () => this.search.abort());
  }

  /** The clear cells of a model. */
  of({ name }) {
    return (this.known.get(name) ?? []).filter(({ correlation }) => Math.abs(correlation) >= CLEAR);
  }

  /** What a cell of the model does; empty if it is unknown. */
  sentence({ layer, index }) {
    const cell = strongest(this.of(this.model).filter((each) => each.layer === layer && each.index === index));
    return cell ? sentenceOf(cell) : "";
  }

  /** Show the cells of a model; `unit`: the one that colours the text, if any. */
  showModel(model, unit) {
    const cells = this.known.get(model.name);
    if (model !== this.model || cells !== this.listed) this.#list(model, cells);
    for (const chip of this.#chips()) chip.ariaPressed = sameUnit(unitOfChip(chip), unit);
  }

  #list(model, cells) {
    Object.assign(this, { model, listed: cells });
    byId("find-cells").hidden = Boolean(cells && !cells.isOfText);
    const clear = Map.groupBy(this.of(model), sentenceOf);
    const shown = new Set(this.of(model).map(({ tracks }) => tracks));
    const weak = new Set((cells ?? []).map(({ tracks }) => tracks).filter((tracks) => !shown.has(tracks)));
    const none = cells && !clear.size ? "No cell of this model clearly tracks a feature. " : "";
    const rest = weak.size ? `No clear cell (correlation below ${CLEAR.toFixed(2)}): ${[...weak].join(", ")}.` : "";
    byId("found").replaceChildren(
      ...[...clear].map(([sentence, members]) => make("div", { className: "group" }, make("h3", {}, sentence), ...members.map((cell) => this.#chip(cell)))),
      make("p", { className: "hint" }, cells?.isOfText ? "Found in the text on the page. " : "", none, rest),
    );
  }

  /** Allow a search in a column's text, if it is long enough. */
  showText({ running, items }) {
    this.hasText = !running && items.length >= SHORTEST_TEXT;
    enable(byId("search-text"), this.hasText && isOn(byId("find-cells")));
  }

  /**
   * Find cells in a text, or in one of the model's own, and return the clear ones; `quiet`: without a message, because
   * nobody asked for them.
   */
  async find(quiet = false, text = undefined) {
    const { model } = this;
    const button = byId("find-cells");
    if (!isOn(button)) return [];
    const held = document.activeElement;
    const { signal } = (this.search = new AbortController());
    byId("found").ariaLive = quiet ? "off" : "polite";
    this.#showSearch(true, quiet);
    try {
      const onProgress = (share) => (byId("search-progress").value = share);
      const { cells } = await this.backend.cells(model.name, { text, onProgress, signal });
      this.known.set(model.name, Object.assign(cells, { isOfText: text !== undefined }));
    } catch (error) {
      if (!quiet && !signal.aborted && model === this.model) {
        byId("found").replaceChildren(make("p", { className: "trouble" }, error.message));
        this.listed = null;
      }
      return [];
    } finally {
      this.#showSearch(false);
    }
    this.onFound();
    if (held === button && button.hidden) (byId("found").querySelector("button") ?? byId("found")).focus();
    return this.of(model);
  }

  /** Draw the last activations of each cell; `activations(unit, count)`: the last ones, undefined where unknown. */
  showLines(activations) {
    for (const chip of this.#chips()) chip.querySelector("path").setAttribute("d", pathOf(activations(unitOfChip(chip), LINE[0])));
  }

  #chips() {
    return byId("found").querySelectorAll("button");
  }

  #showSearch(on, quiet) {
    enable(byId("find-cells"), !on);
    enable(byId("search-text"), !on && this.hasText);
    byId("search-progress").removeAttribute("value");
    byId("search").hidden = true;
    clearTimeout(this.late);
    if (on) this.late = setTimeout(() => (byId("search").hidden = false), PATIENCE[Number(quiet)]);
  }

  #chip(cell) {
    const { layer, index, correlation } = cell;
    const number = `${correlation < 0 ? "−" : "+"}${Math.abs(correlation).toFixed(2)}`;
    const bar = make("span");
    bar.style.transform = `scaleX(${Math.abs(correlation)})`;
    const line = make("span", { innerHTML: `<svg viewBox="0 0 ${LINE.join(" ")}" preserveAspectRatio="none" aria-hidden="true"><path/></svg>` });
    const parts = [make("span", {}, `${layer}·${index} `), line, make("small", {}, number), make("span", { className: "strength" }, bar)];
    const chip = make("button", { type: "button", className: "chip cell" }, ...parts);
    chip.dataset.unit = `${layer} ${index}`;
    chip.title = `Layer ${layer}, cell ${index}: ${sentenceOf(cell)}, correlation ${correlation.toFixed(2)}`;
    chip.addEventListener("pointerenter", () => this.onPreview(cell));
    chip.addEventListener("pointerleave", () => this.onPreview(null));
    chip.addEventListener("click", () => this.onChoose(cell));
    return chip;
  }
}

const unitOfChip = ({ dataset }) => {
  const [layer, index] = dataset.unit.split(" ").map(Number);
  return { layer, index };
};

const sentenceOf = ({ tracks, correlation }) => SENTENCES[tracks]?.[correlation < 0 ? 1 : 0] ?? tracks;

/** The cell with the largest correlation, whatever its sign. */
export const strongest = (cells) => cells.toSorted((one, other) => Math.abs(other.correlation) - Math.abs(one.correlation))[0];

function pathOf(values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0.05);
  const x = (place) => LINE[0] - values.length + place + 0.5;
  const y = (value) => (1 + ((1 - value / largest) * (LINE[1] - 2)) / 2).toFixed(1);
  const points = values.flatMap((value, place) => (value === undefined ? [] : `${x(place)} ${y(value)}`));
  return points.length ? `M${points.join("L")}` : "";
}
