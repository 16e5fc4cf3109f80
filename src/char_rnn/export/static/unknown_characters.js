/* How a model reads a text, as in char_rnn.generation.unknown_characters: normal forms, line ends, nearest characters. */

export const LINE_ENDS = ["\n", "\r", "\u0085", "\u2028", "\u2029"];
const FORMS = ["NFC", "NFD"];
const PIECE = /\r\n|[^]/gu;
const LONGEST = 32; // characters normalized together
const MARK = /^\p{M}/u;
const ALIKE = [
  "'‘’‚‛`´′",
  '"“”„‟«»″',
  "-‐‑‒–—―−",
  " \u00a0\u2002\u2003\u2009\u200a\u202f\u3000\t",
  "\n\r\u0085\u2028\u2029",
  "/⁄∕",
]; // the simplest first
const SPELLINGS = {
  "…": "...", ß: "ss", æ: "ae", Æ: "AE", œ: "oe", Œ: "OE", ø: "o", Ø: "O", ł: "l", Ł: "L",
  đ: "d", Đ: "D", ð: "d", Ð: "D", þ: "th", Þ: "Th", ı: "i",
};

/**
 * {pieces, form}: consecutive pieces [given, read] of the text, and its normal form or null.
 * `has(text)`: whether the vocabulary has a text; `unknown`: "error", "skip" or "nearest".
 */
export function spell(text, has, unknown) {
  if (has(text)) return { pieces: [[text, text]], form: null };
  const known = remembered(has);
  const { pieces, form } = inItsForm(text, known);
  if (unknown === "error") {
    for (const [, formed] of pieces) refuseUnknown(formed, known);
    return { pieces, form };
  }
  const readable = remembered((piece) => {
    if (known(piece)) return piece;
    const near = unknown === "nearest" ? nearestText(piece === "\r\n" ? "\n" : piece, known) : piece;
    return [...near].filter(known).join("");
  });
  return { pieces: pieces.map(([given, formed]) => [given, readable(formed)]), form };
}

/** The text that the model reads. */
export const textOf = ({ pieces }) => pieces.map(([, read]) => read).join("");

/** Fields of the event `start` that report the differences from the given text: {normal_form?, substitutions?}. */
export function howRead({ pieces, form }) {
  const changed = pieces.filter(([given, read]) => read !== given && read !== (form ? given.normalize(form) : given));
  const substitutions = [...new Map(changed)];
  return { ...(form && { normal_form: form }), ...(substitutions.length && { substitutions }) };
}

/** A text in the first normal form that the vocabulary has; unchanged if it is known, or no form is. */
export function canonical(text, has, forms = FORMS) {
  return [text, ...forms.map((form) => text.normalize(form))].find(has) ?? text;
}

/** The pieces of a text, as given or in the normal form with fewer unknown characters. */
function inItsForm(text, has) {
  const given = text.match(PIECE).map((piece) => [piece, piece]);
  const parts = segments(text);
  const inForm = (form) => parts.map((part) => [part, part.normalize(form)]);
  const unknown = (pieces) => [...textOf({ pieces })].filter((character) => !has(character)).length;
  let best = { form: null, pieces: given, lacking: unknown(given) };
  for (const form of FORMS) {
    const pieces = inForm(form);
    const lacking = unknown(pieces);
    if (lacking < best.lacking) best = { form, pieces, lacking };
  }
  return best;
}

/** Pieces that can be normalized one by one: a line end, or a character and its combining marks. */
function segments(text) {
  const found = [];
  let length = 0;
  for (const piece of text.match(PIECE)) {
    if (length > 0 && length < LONGEST && composes(found.at(-1), piece)) {
      found[found.length - 1] += piece;
      length += 1;
    } else {
      found.push(piece);
      length = [...piece].length;
    }
  }
  return found;
}

function composes(before, character) {
  if (character < "\u0080") return false;
  if (MARK.test(character)) return true;
  return (before + character).normalize("NFC") !== before.normalize("NFC") + character.normalize("NFC");
}

function refuseUnknown(text, has) {
  const character = [...text].find((each) => !has(each));
  if (character === undefined) return;
  throw new Error(`The model does not know “${character}”. Remove it, or skip unknown characters.`);
}

/** Memoize a function of a text. */
function remembered(compute) {
  const answers = new Map();
  return (text) => {
    if (!answers.has(text)) answers.set(text, compute(text));
    return answers.get(text);
  };
}

/** A text with each character replaced by the nearest text that satisfies `has`, if there is any. */
const nearestText = (text, has) => Array.from(text, (character) => candidatesFor(character).find(has) ?? character).join("");

function candidatesFor(character) {
  const plain = character.normalize("NFKD").replace(/\p{M}/gu, "");
  const groups = ALIKE.filter((group) => group.includes(character) || ([...plain].length === 1 && group.includes(plain)));
  return [
    ...casesOf(character),
    ...(plain ? [...casesOf(plain), plain.replaceAll("⁄", "/")] : []),
    ...groups.flatMap((group) => [...group]),
    ...casesOf(SPELLINGS[character] ?? ""),
  ].filter(Boolean);
}

/** A text in upper and lower case, if the length stays the same. */
const casesOf = (text) =>
  [text, swapped(text), text.toLowerCase(), text.toUpperCase()].filter((each) => [...each].length === [...text].length);

const swapped = (text) => Array.from(text, inOtherCase).join("");
const inOtherCase = (letter) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase());
