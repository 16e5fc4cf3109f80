/* Hidden cells that track features of a text, as in char_rnn.generation.tracking_cells. */

import { LINE_ENDS } from "./unknown_characters.js";
import { dot } from "./tensors.js";

const RAREST = 10; // characters at which a feature has to differ from its most frequent value
const PARAGRAPH = (end) => `(?:(?!\\n[ \\t]*\\n)[^${end}])*`;
const WORD = "[\\p{L}\\p{N}_]";
const quotedTexts = () => {
  const marked = [`"${PARAGRAPH('"')}"`, `“${PARAGRAPH("”")}”`, `«${PARAGRAPH("»")}»`];
  return new RegExp([...marked, `(?<!${WORD})'[^'\\n]*'(?!${WORD})`].join("|"), "gu"); // created late: older browsers have no lookbehind
};

const FEATURES = {
  quotes(characters) {
    const places = characters.flatMap((character, place) => new Array(character.length).fill(place));
    const inside = characters.map(() => 0);
    for (const { 0: quoted, index } of characters.join("").matchAll(quotedTexts())) {
      inside.fill(1, places[index], places[index + quoted.length - 1]);
    }
    return inside;
  },

  "line length"(characters) {
    let since = 0;
    return characters.map((character) => (since = character === "\n" ? 0 : since + 1));
  },

  indentation(characters) {
    let [depth, leading] = [0, true];
    return characters.map((character) => {
      if (character === "\n") [depth, leading] = [0, true];
      else if (leading && " \t".includes(character)) depth += character === "\t" ? 4 : 1;
      else leading = false;
      return depth;
    });
  },

  brackets(characters) {
    let [depth, before] = [0, ""];
    return characters.map((character) => {
      if ("([{".includes(character)) depth += 1;
      else if (")]}".includes(character)) depth = Math.max(0, depth - 1);
      else if (character === "\n" && before === "\n") depth = 0;
      before = character;
      return depth;
    });
  },

  "word starts": (characters) =>
    characters.map((character, place) => Number(isOfWord(character) && !isOfWord(characters[place - 1] ?? " "))),

  capitals: (characters) => characters.map((character) => Number(/^\p{Lu}/u.test(character))),
};

const isOfWord = (character) => /^[\p{L}\p{N}]/u.test(character);

/**
 * The cells that track each feature best: [{tracks, layer, index, correlation}, ...].
 * `activations`: those of all cells after each character, layer after layer of `width` cells.
 */
export function bestCells(characters, activations, width, count = 3) {
  const lines = characters.includes("\n") ? characters : characters.map((each) => (LINE_ENDS.includes(each) ? "\n" : each));
  const features = Object.entries(FEATURES).map(([tracks, feature]) => ({ tracks, values: feature(lines) }));
  const shown = features.filter(({ values }) => varies(values)).map(({ tracks, values }) => ({ tracks, values: unit(values) }));
  const cells = Array.from(activations[0] ?? [], (_, place) => unit(activations.map((each) => each[place])));
  return shown.flatMap(({ tracks, values }) => {
    const found = cells.map((ofCell, place) => ({ tracks, layer: Math.floor(place / width), index: place % width, correlation: dot(values, ofCell) }));
    found.sort((one, other) => Math.abs(other.correlation) - Math.abs(one.correlation));
    return found.slice(0, count);
  });
}

/** Scale to mean 0 and length 1, so that a dot product is a Pearson correlation; constant values become 0. */
function unit(values) {
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const rest = Float64Array.from(values, (each) => each - mean);
  const length = Math.sqrt(dot(rest, rest));
  return length > 1e-9 * Math.sqrt(dot(values, values)) ? rest.map((each) => each / length) : rest.fill(0);
}

function varies(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return values.length - Math.max(0, ...counts.values()) >= RAREST;
}
