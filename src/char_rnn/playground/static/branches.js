/* The branches of a text, and the small tree that goes between them. */

import { make, sign, spoken } from "./dom.js";

const MOST_BRANCHES = 12;
const MOST_ITEMS = 200_000; // in all branches of a text

export class Branches {
  /** `onChoose(id)`: a person goes to another branch. */
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.element = make("nav", { className: "branches" });
    this.element.setAttribute("aria-label", "Branches of the text");
    this.restore();
  }

  /** The tree, which does not change any more, for `restore`. */
  snapshot() {
    const { nodes, texts, current } = this;
    return { nodes, texts: new Map(texts), current };
  }

  /** Show a stored tree; without one, a text without branches. */
  restore({ nodes, texts, current } = { nodes: [{ id: 0, parent: null }], texts: [], current: 0 }) {
    Object.assign(this, { nodes, current, texts: new Map(texts) }); // `texts`: the items of all branches but the current one
    this.#draw();
  }

  /** Open a branch where `items`, the current text, go on with another character at `index`. */
  open(items, index, character) {
    const id = Math.max(...this.nodes.map((node) => node.id)) + 1;
    this.texts.set(this.current, [...items]);
    this.nodes = [...this.nodes, { id, parent: this.#owner(index).id, at: index, character }];
    this.current = id;
    while (this.nodes.length > MOST_BRANCHES || (this.nodes.length > 1 && this.#size() > MOST_ITEMS)) this.#drop();
    this.#draw();
  }

  /** Go to another branch from the current text, `items`; returns its items. */
  choose(id, items) {
    this.texts.set(this.current, [...items]);
    this.current = id;
    const chosen = this.texts.get(id);
    this.texts.delete(id);
    this.#draw();
    return chosen;
  }

  #node(id) {
    return this.nodes.find((node) => node.id === id);
  }

  /* The branch that has written the character at `index` of the current text. */
  #owner(index) {
    let node = this.#node(this.current);
    while (node.parent !== null && index <= node.at) node = this.#node(node.parent);
    return node;
  }

  #size() {
    return [...this.texts.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /* Drop the oldest end of a branch; branches of a dropped one belong to its parent. */
  #drop() {
    const others = this.nodes.filter(({ id }) => id !== this.current);
    const { id: dropped, parent } = others.find(({ id }) => !this.nodes.some((node) => node.parent === id)) ?? others[0];
    this.texts.delete(dropped);
    this.nodes = this.nodes.filter(({ id }) => id !== dropped).map((node) => (node.parent === dropped ? { ...node, parent } : node));
  }

  #draw() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = this.nodes.length < 2;
    this.element.replaceChildren(...this.#list(null));
    if (hadFocus) this.element.querySelector("[aria-current]").focus();
  }

  #list(parent) {
    const children = this.nodes.filter((node) => node.parent === parent);
    return children.length ? [make("ul", {}, ...children.map((node) => make("li", {}, this.#button(node), ...this.#list(node.id))))] : [];
  }

  #button({ id, at, character }) {
    const button = make("button", { type: "button" }, character === undefined ? "first" : sign(character));
    if (character !== undefined) button.setAttribute("aria-label", `${spoken(character)} at character ${at + 1}`);
    if (id === this.current) button.setAttribute("aria-current", "true");
    button.title = id === this.current ? "This text" : "Show this branch";
    button.addEventListener("click", () => id !== this.current && this.onChoose(id));
    return button;
  }
}
