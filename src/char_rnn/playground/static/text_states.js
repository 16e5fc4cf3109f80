/* The activations of all cells after each character of a column's text: those that came with it, or requested once. */

import { lastOf } from "./column_colours.js";

const MOST_BETWEEN = 400; // characters between two that come with activations
const REST = 150; // milliseconds before a request, so that a mouse passing over a text costs nothing

export class TextStates {
  /** `onArrive()`: called when requested activations are there. */
  constructor(backend, onArrive) {
    Object.assign(this, { backend, onArrive });
    this.text = null; // {items, last, model, scale, values, places}: the text that was read
    this.asked = null; // the text that is being read
  }

  /** {values, scale}: the levels of all cells at an item; null if unknown, and then they are requested. */
  at(column, index) {
    const came = this.#came(column, index);
    if (came || !this.covers(column, index)) return came;
    const { scale, values, size, places } = this.text;
    return { scale, values: values.subarray(places[index] * size, (places[index] + 1) * size) };
  }

  /** Whether the activations at an item and before it are known; if not, they are requested. */
  covers(column, index) {
    const isKnown = isOf(this.text, column) && this.text.places[index] !== undefined;
    if (!isKnown && column.items[index]) this.#request(column, index);
    return isKnown;
  }

  /** The activation of a cell at each of some items of a text that is known; undefined where it is not. */
  of({ model }, { layer, index }, start, end) {
    const { scale, values, size, places } = this.text;
    const at = (place) => (values[place * size + layer * model.hidden_size + index] * scale) / 127;
    return Array.from({ length: end - start }, (_, number) => places[start + number]).map((place) => (place === undefined ? place : at(place)));
  }

  /* Those that came with an item; while a text is written, those of an earlier one stand for its latest. */
  #came({ items, model, running, view }, index) {
    const first = running && index === view.shown - 1 ? Math.max(0, index - MOST_BETWEEN) : index;
    const item = items.slice(first, index + 1).findLast(({ states }) => states);
    return item?.model === model.name ? item.states : null;
  }

  #request(column, index) {
    if (column.running || isOf(this.asked, column)) return;
    const { items, model } = column;
    const asked = (this.asked = { items, last: items.at(-1), model });
    const read = items.slice(0, isOf(this.text, column) ? index + 1 : items.length); // an answer may begin late in a text
    setTimeout(async () => {
      if (this.asked !== asked) return;
      const text = lastOf(read.map((item) => item.text).join(""), column.limits.prime);
      try {
        const { characters, ...states } = await this.backend.states({ model: model.name, text });
        if (!isOf(asked, column)) return;
        this.text = { ...asked, ...states, size: states.values.length / characters, places: placesOf(read, characters) };
        this.onArrive();
      } catch {
        return; // the wall stays as it is until the text changes
      }
      if (this.asked === asked) this.asked = null;
    }, REST);
  }
}

const isOf = (text, { items, model }) => text?.items === items && text.last === items.at(-1) && text.model === model;

/* The place of each item among the last `count` characters of a text; undefined before them. */
function placesOf(items, count) {
  const places = [];
  for (let index = items.length - 1, place = count - 1; index >= 0 && place >= 0; index -= 1) {
    places[index] = place;
    place -= [...items[index].text].length;
  }
  return places;
}
