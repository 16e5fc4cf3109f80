/* The nearest known characters, as in char_rnn.generation.unknown_characters. */

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

/** The nearest text to a character that satisfies `has`; the character itself if there is none. */
export function nearestTo(character, has) {
  return candidatesFor(character).find(has) ?? character;
}

/** A text with each character replaced by the nearest. */
export const nearestText = (text, has) => Array.from(text, (character) => nearestTo(character, has)).join("");

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
