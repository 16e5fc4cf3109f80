/* The vocabulary: characters (code points) or bytes of UTF-8. */

import { canonical, LINE_ENDS, spell } from "./unknown_characters.js";

const UTF8 = new TextEncoder();

export class Symbols {
  /** `symbols`: code points or bytes, by index. */
  constructor({ kind, symbols }) {
    this.kind = kind;
    this.symbols = symbols;
    this.size = symbols.length;
    this.index = new Map(symbols.map((symbol, place) => [symbol, place]));
  }

  /** The indices of a text; null if a symbol is unknown. */
  encode(text) {
    const codes = this.kind === "bytes" ? [...UTF8.encode(text)] : [...text].map((each) => each.codePointAt(0));
    const indices = codes.map((code) => this.index.get(code));
    return indices.includes(undefined) ? null : indices;
  }

  has = (text) => this.encode(text) !== null;

  /** How a text is read; `unknown` is "error", "skip" or "nearest". */
  spell(text, unknown) {
    return spell(text, this.has, unknown);
  }

  /** The indices read for each character of a text; those of a piece belong to its last character. */
  spelled(text) {
    return this.spell(text, "nearest").pieces.flatMap(([given, read]) => {
      const characters = [...given];
      if (given === read) return characters.map((character) => this.encode(character));
      return characters.map((_, place) => (place === characters.length - 1 ? this.encode(read) : []));
    });
  }

  /** A stop text in the normal form of the vocabulary. */
  canonical(text) {
    return canonical(text, this.has);
  }

  /** The stop texts for the end of a line. */
  lineEnds() {
    const end = LINE_ENDS.slice(0, this.kind === "bytes" ? 2 : undefined).find(this.has);
    return end === "\n" ? ["\n", "\r\n"] : end ? [end] : [];
  }

  /** Whether each symbol may be drawn; null: all. */
  kept(allowed, banned) {
    if (!banned && allowed === null) return null;
    const kept = new Array(this.size).fill(allowed === null);
    for (const symbol of this.#named(allowed ?? "")) kept[symbol] = true;
    for (const symbol of this.#named(banned)) kept[symbol] = false;
    if (!kept.includes(true)) throw new Error("No character is left to draw. Allow more characters, or ban fewer.");
    return kept;
  }

  decoder() {
    return new Decoder(this);
  }

  decode(indices) {
    const decoder = this.decoder();
    return indices.map((index) => decoder.decode(index)).join("");
  }

  /** A symbol as text; a byte that is not a character by itself as \xC3. */
  label(index) {
    const symbol = this.symbols[index];
    if (this.kind === "bytes" && symbol >= 128) return `\\x${symbol.toString(16).toUpperCase()}`;
    return String.fromCodePoint(symbol);
  }

  #named(characters) {
    return [...canonical(characters, this.has, ["NFC"])].flatMap((character) => {
      const indices = this.encode(character) ?? [];
      if (indices.length > 1) {
        const how = "but this model writes single bytes. Use ASCII characters only.";
        throw new Error(`“${character}” is ${indices.length} bytes, ${how}`);
      }
      return indices;
    });
  }
}

/** Decodes indices one by one; a character of several bytes comes with its last byte. */
class Decoder {
  constructor({ kind, symbols }) {
    this.symbols = symbols;
    this.utf8 = kind === "bytes" ? new TextDecoder("utf-8", { ignoreBOM: true }) : null;
  }

  decode(index) {
    const symbol = this.symbols[index];
    return this.utf8 ? this.utf8.decode(Uint8Array.of(symbol), { stream: true }) : String.fromCodePoint(symbol);
  }
}
