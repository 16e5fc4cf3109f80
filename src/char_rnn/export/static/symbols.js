/* The symbols a model reads and writes: characters (code points) or bytes of UTF-8. */

import { nearestTo } from "./nearest.js";

const UTF8 = new TextEncoder();

export class Symbols {
  /** `symbols`: code points or bytes, each in the place that is its index. */
  constructor({ kind, symbols }) {
    this.kind = kind;
    this.symbols = symbols;
    this.size = symbols.length;
    this.unit = kind === "bytes" ? "byte" : "character";
    this.index = new Map(symbols.map((symbol, place) => [symbol, place]));
  }

  /** The indices of a text, or null where one has none. */
  encode(text) {
    const codes = this.kind === "bytes" ? [...UTF8.encode(text)] : [...text].map((each) => each.codePointAt(0));
    const indices = codes.map((code) => this.index.get(code));
    return indices.includes(undefined) ? null : indices;
  }

  /** For each character of a text the indices that are read: its own, those of the nearest that has some, or none. */
  spelled(text) {
    const has = (piece) => this.encode(piece) !== null;
    return [...text].map((character) => this.encode(nearestTo(character, has)) ?? []);
  }

  /** The indices that are read of a prime text; `unknown` is "error", "skip" or "nearest". */
  read(text, unknown) {
    if (unknown === "nearest") return this.spelled(text).flat();
    return [...text].flatMap((character) => {
      const indices = this.encode(character);
      if (!indices && unknown === "error") {
        throw new Error(`The model has never seen “${character}”. Take it out, or have such characters left out.`);
      }
      return indices ?? [];
    });
  }

  /** Which symbols may be drawn, or null for all. */
  kept(allowed, banned) {
    if (!banned && allowed === null) return null;
    const kept = new Array(this.size).fill(allowed === null);
    for (const symbol of this.#named(allowed ?? "")) kept[symbol] = true;
    for (const symbol of this.#named(banned)) kept[symbol] = false;
    if (!kept.includes(true)) throw new Error("Nothing is left to draw. Allow more characters, or ban fewer.");
    return kept;
  }

  decoder() {
    return new Decoder(this);
  }

  decode(indices) {
    const decoder = this.decoder();
    return indices.map((index) => decoder.decode(index)).join("");
  }

  /** A symbol to be shown; a byte that alone is no character as \xC3. */
  label(index) {
    const symbol = this.symbols[index];
    if (this.kind === "bytes" && symbol >= 128) return `\\x${symbol.toString(16).toUpperCase()}`;
    return String.fromCodePoint(symbol);
  }

  #named(characters) {
    return [...characters].flatMap((character) => {
      const indices = this.encode(character) ?? [];
      if (indices.length > 1) {
        const how = "and this model writes byte by byte. Name ASCII characters only.";
        throw new Error(`“${character}” is ${indices.length} bytes, ${how}`);
      }
      return indices;
    });
  }
}

/** Turns indices that come one by one into text: a character of several bytes is held back until it is whole. */
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
