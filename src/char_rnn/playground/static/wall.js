/* The wall: all cells of a model as a heat map, layer below layer, with the keys and names of a list box. */

import { byId, make } from "./dom.js";

const REDRAW = 90; // milliseconds between two drawings
const EASE = 0.35; // the share of the way that a cell goes in a drawing while a text is written, so that nothing flashes
const HEIGHT = 216; // pixels, at most
const LARGEST = 14; // pixels of a cell
const GAP = 6; // pixels between two layers

export class Wall {
  /**
   * `onPreview(unit)`: a cell is looked at; null: none. `onChoose(unit)`: it is chosen. `onShow()`: the wall may have been
   * hidden. `describe(unit, value)`: the name of a cell.
   */
  constructor(on) {
    Object.assign(this, on, { list: byId("wall"), canvas: make("canvas", { ariaHidden: "true" }), looked: null });
    this.list.prepend(this.canvas);
    this.isVisible = this.list.clientWidth > 0;
    this.#listen();
  }

  /** Show a model's cells, with a chosen one, and marks at those that track a feature. */
  showModel(model, unit, marks) {
    const { num_layers, hidden_size } = model;
    this.layers = num_layers;
    this.width = hidden_size;
    this.chosen = this.#place(unit);
    this.marks = marks.map((mark) => this.#place(mark));
    if (this.model !== model) {
      this.model = model;
      this.levels = new Float32Array(num_layers * hidden_size);
      this.target = null;
    }
    this.#arrange();
    this.#name();
  }

  /** Show levels {values, scale}, or leave the old ones; `calm`: gradually. */
  show(states, calm) {
    if (states?.values.length !== this.levels.length) return;
    this.target = Float32Array.from(states.values, (value) => (value * states.scale) / 127);
    this.share = calm ? EASE : 1;
    this.due ??= setTimeout(() => this.#step(), REDRAW);
    this.#name();
  }

  #step() {
    this.due = undefined;
    this.target?.forEach((value, place) => (this.levels[place] += this.share * (value - this.levels[place])));
    this.#draw();
  }

  /* Choose the largest cells that fit. */
  #arrange() {
    const room = this.list.clientWidth;
    if (!room || !this.levels) return;
    for (this.size = LARGEST; ; this.size -= 1) {
      this.across = Math.min(this.width, Math.floor((room - 2) / this.size));
      this.tall = Math.ceil(this.width / this.across) * this.size + GAP; // of a layer
      if (this.layers * this.tall - GAP <= HEIGHT || this.size === 3) break;
    }
    const height = this.layers * this.tall - GAP + 2; // with a pixel around it for outlines
    this.canvas.style.height = `${height}px`;
    this.canvas.width = room * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    this.#draw();
  }

  #draw() {
    if (!this.size) return;
    const context = this.canvas.getContext("2d");
    const { color: above, caretColor: below, columnRuleColor: mark, outlineColor: accent } = getComputedStyle(this.canvas);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.levels.forEach((level, place) => {
      context.globalAlpha = 0.1 + 0.9 * Math.min(1, Math.abs(level)) ** 0.7;
      context.fillStyle = level < 0 ? below : above;
      context.fillRect(...this.#corner(place), this.size - 1, this.size - 1);
    });
    context.globalAlpha = 1;
    const outline = (place, colour, width) => {
      const [x, y] = this.#corner(place);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - 0.5, y - 0.5, this.size, this.size);
    };
    for (const place of this.marks) outline(place, mark, 1);
    outline(this.chosen, accent, 2);
    if (this.looked !== null) outline(this.looked, getComputedStyle(this.list).color, 2);
  }

  #corner(place) {
    const [layer, index] = [Math.floor(place / this.width), place % this.width];
    return [(index % this.across) * this.size + 1, layer * this.tall + Math.floor(index / this.across) * this.size + 1];
  }

  #placeAt({ offsetX: x, offsetY: y }) {
    const [layer, column] = [Math.floor(y / this.tall), Math.floor(x / this.size)];
    const index = Math.floor((y - layer * this.tall) / this.size) * this.across + column;
    return layer < this.layers && column < this.across && index < this.width ? layer * this.width + index : null;
  }

  #place({ layer, index }) {
    return layer * this.width + index;
  }

  #cell(place) {
    return { layer: Math.floor(place / this.width), index: place % this.width };
  }

  /** Look at a cell from elsewhere; null: at none. */
  look(unit) {
    this.#look(unit && this.#place(unit));
  }

  #look(place) {
    if (place === this.looked || !this.size) return;
    this.looked = place;
    this.#name();
    this.#draw();
    this.onPreview(place === null ? null : this.#cell(place));
  }

  /* The one option stands for the cell that is looked at, or the chosen one. */
  #name() {
    const place = this.looked ?? this.chosen;
    const option = byId("wall-cell");
    option.textContent = this.describe(this.#cell(place), this.target?.[place]);
    option.ariaPosInSet = place + 1;
    option.ariaSetSize = this.levels.length;
    option.ariaSelected = place === this.chosen;
  }

  #listen() {
    const { canvas, list } = this;
    canvas.addEventListener("pointermove", (event) => this.#look(this.#placeAt(event)));
    canvas.addEventListener("pointerleave", () => this.#look(null));
    canvas.addEventListener("click", (event) => {
      const place = this.#placeAt(event);
      if (place !== null) this.onChoose(this.#cell(place));
    });
    list.addEventListener("keydown", (event) => this.#press(event));
    list.addEventListener("blur", () => this.#look(null));
    new ResizeObserver(() => {
      this.isVisible = this.list.clientWidth > 0;
      this.#arrange();
      if (this.isVisible) this.onShow();
    }).observe(list);
    new MutationObserver(() => this.#draw()).observe(byId("dark"), { attributes: true }); // another theme
  }

  #press(event) {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across }[key];
    const to = { Home: 0, End: this.levels.length - 1 }[key] ?? (this.looked ?? this.chosen) + by;
    if (to >= 0) this.#look(Math.min(this.levels.length - 1, to));
    else if (this.looked === null) return;
    else if (key === "Enter" || key === " ") this.onChoose(this.#cell(this.looked));
    else if (key === "Escape") this.#look(null);
    else return;
    event.preventDefault();
  }
}
