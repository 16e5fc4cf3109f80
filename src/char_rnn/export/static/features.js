/* Which hidden cells follow what a reader sees in a text, as char_rnn.playground.cells has it. */

const RAREST = 10; // characters at which a feature has to differ from what it is most often
const PARAGRAPH = (end) => `(?:(?!\\n[ \\t]*\\n)[^${end}])*`;
const QUOTED = new RegExp(
  [`"${PARAGRAPH('"')}"`, `“${PARAGRAPH("”")}”`, `«${PARAGRAPH("»")}»`, "(?<![\\p{L}\\p{N}_])'[^'\\n]*'(?![\\p{L}\\p{N}_])"].join("|"),
  "gu",
);

const FEATURES = {
  quotes(characters) {
    const places = characters.flatMap((character, place) => new Array(character.length).fill(place));
    const inside = characters.map(() => 0);
    for (const { 0: quoted, index } of characters.join("").matchAll(QUOTED)) {
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
 * `activations`: after each character, for each layer the h of its cells.
 */
export function bestCells(characters, activations, count = 3) {
  const found = [];
  for (const [tracks, feature] of Object.entries(FEATURES)) {
    const values = feature(characters);
    if (!varies(values)) continue;
    const cells = activations[0].flatMap((cellsOfLayer, layer) =>
      Array.from(cellsOfLayer, (_, index) => {
        const correlation = correlationOf(values, activations.map((each) => each[layer][index]));
        return { tracks, layer, index, correlation };
      }),
    );
    found.push(...cells.sort((one, other) => Math.abs(other.correlation) - Math.abs(one.correlation)).slice(0, count));
  }
  return found;
}

/** Pearson's; 0 where one of them is constant. */
function correlationOf(one, other) {
  const [a, b] = [centred(one), centred(other)];
  if (!a || !b) return 0;
  return Math.max(-1, Math.min(1, dotProduct(a, b) / Math.sqrt(dotProduct(a, a) * dotProduct(b, b))));
}

/** Less their mean; null where they are constant. */
function centred(values) {
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const rest = values.map((each) => each - mean);
  return Math.sqrt(dotProduct(rest, rest)) > 1e-9 * Math.sqrt(dotProduct(values, values)) ? rest : null;
}

const dotProduct = (one, other) => one.reduce((sum, each, place) => sum + each * other[place], 0);

function varies(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return values.length - Math.max(0, ...counts.values()) >= RAREST;
}
