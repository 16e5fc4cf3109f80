/*
 * A growing, coloured text that finds the character at a point.
 *
 * Characters are items: {text, prime, ...}. Neighbours with the same look share a node, so an uncoloured text is a few long
 * text nodes. The text is cut into blocks at line ends, so that the browser lays out only the last block as it grows.
 */

const BLOCK = 1500;

export class TextView {
  constructor(pane, { onPoint, onPick }) {
    this.pane = pane;
    this.body = document.createElement("div");
    this.mark = document.createElement("span");
    this.body.className = "body";
    this.mark.className = "mark";
    this.mark.hidden = true;
    pane.replaceChildren(this.body, this.mark);
    this.lookOf = () => ""; // the class of an item's colour, or ""
    this.held = Infinity; // items beyond this number are not shown yet
    this.clear();
    this.#listen(onPoint, onPick);
    this.following = true; // whether to keep the end of the text in view
    pane.addEventListener("scroll", () => (this.following = this.#isFollowing()));
    new ResizeObserver(() => {
      this.height = pane.clientHeight;
      if (this.following) pane.scrollTop = pane.scrollHeight;
      this.#placeMark();
    }).observe(pane);
  }

  clear() {
    this.items = [];
    this.starts = [];
    this.length = 0;
    this.marked = null;
    this.redraw();
  }

  append(items) {
    for (const item of items) {
      this.items.push(item);
      this.starts.push(this.length);
      this.length += item.text.length;
    }
    this.frame ??= requestAnimationFrame(() => this.flush());
  }

  /** Keep the first `count` items. */
  cut(count) {
    if (count >= this.items.length) return;
    this.length = this.starts[count];
    this.items.length = this.starts.length = count;
    this.redraw();
  }

  /** Show only the first `count` items for now. */
  hold(count) {
    this.held = count;
    this.flush();
  }

  /** The number of items that are shown. */
  get shown() {
    return Math.min(this.items.length, this.held);
  }

  text() {
    return this.items.map((item) => item.text).join("");
  }

  /** Draw the new items. */
  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    this.#keepingPlace(() => this.#draw());
  }

  /** Draw all items again, after a change of looks. */
  redraw() {
    this.#keepingPlace(() => {
      this.drawn = 0;
      this.nodes = [];
      this.block = this.look = null;
      const old = [...this.body.childNodes];
      this.#draw();
      for (const node of old) node.remove();
    });
    this.#placeMark();
  }

  /* Scroll with the end of the text if it is in view. */
  #keepingPlace(draw) {
    const { pane } = this;
    const { scrollTop } = pane;
    const following = this.#isFollowing();
    draw();
    pane.scrollTop = following ? pane.scrollHeight : scrollTop;
  }

  #isFollowing() {
    const { pane } = this;
    if (pane.clientHeight !== this.height) return this.following; // resized: the observer has yet to scroll
    return pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
  }

  /** Mark an item; null: none. */
  point(index) {
    this.marked = index;
    this.#placeMark();
  }

  #draw() {
    const { items, shown } = this;
    while (this.drawn < shown) {
      const first = this.drawn;
      if (!this.block || (this.filled > BLOCK && items[first - 1]?.text.endsWith("\n"))) this.#openBlock();
      const look = this.#look(items[first]);
      let text = "";
      do {
        text += items[this.drawn].text;
        this.drawn += 1;
      } while (this.drawn < shown && !this.#blockEnds(text) && this.#look(items[this.drawn]) === look);
      this.#write(text, look, this.starts[first]);
    }
  }

  #openBlock() {
    this.block = this.body.appendChild(document.createElement("div"));
    this.look = null;
    this.filled = 0;
  }

  #blockEnds(text) {
    return this.filled + text.length > BLOCK && text.endsWith("\n");
  }

  #look(item) {
    return `${item.prime ? "prime " : ""}${this.lookOf(item)}`.trim();
  }

  #write(text, look, start) {
    this.filled += text.length;
    if (look === this.look) {
      this.nodes.at(-1).node.appendData(text);
      return;
    }
    const node = document.createTextNode(text);
    this.nodes.push({ node, start });
    this.look = look;
    if (look) {
      const span = this.block.appendChild(document.createElement("span"));
      span.className = look;
      span.append(node);
    } else {
      this.block.append(node);
    }
  }

  #listen(onPoint, onPick) {
    let place = null;
    const look = () => {
      if (place) onPoint(this.#itemAt(...place));
      place = null;
    };
    this.pane.addEventListener("pointermove", ({ clientX, clientY, pointerType }) => {
      if (pointerType !== "mouse") return;
      if (!place) requestAnimationFrame(look);
      place = [clientX, clientY];
    });
    this.pane.addEventListener("pointerleave", () => {
      place = null;
      onPoint(null);
    });
    this.pane.addEventListener("click", ({ clientX, clientY }) => {
      const index = this.#itemAt(clientX, clientY);
      if (index !== null && getSelection().isCollapsed) onPick(index);
    });
  }

  #itemAt(x, y) {
    const caret = document.caretPositionFromPoint?.(x, y) ?? document.caretRangeFromPoint?.(x, y);
    const node = caret?.offsetNode ?? caret?.startContainer;
    const entry = this.nodes.find((each) => each.node === node);
    if (!entry) return null;
    const near = lastAtMost(this.starts, entry.start + (caret.offset ?? caret.startOffset));
    const hit = (index) => this.#rectangles(index).some((box) => inside(box, x, y));
    return [near, near - 1, near + 1].find(hit) ?? null;
  }

  #rectangles(index) {
    const item = this.items[index];
    if (!item?.text || index >= this.drawn) return [];
    const { node, start } = this.nodes[lastAtMost(this.nodes, this.starts[index], ({ start }) => start)];
    const range = document.createRange();
    range.setStart(node, this.starts[index] - start);
    range.setEnd(node, this.starts[index] - start + item.text.length);
    return [...range.getClientRects()];
  }

  #placeMark() {
    const box = this.marked === null ? null : this.#rectangles(this.marked).at(-1);
    this.mark.hidden = !box;
    if (!box) return;
    const { pane, mark } = this;
    const frame = pane.getBoundingClientRect();
    mark.style.left = `${box.left - frame.left + pane.scrollLeft - pane.clientLeft}px`;
    mark.style.top = `${box.top - frame.top + pane.scrollTop - pane.clientTop}px`;
    mark.style.width = `${Math.max(box.width, 6)}px`;
    mark.style.height = `${box.height}px`;
  }

  /** Scroll the marked item into view. */
  reveal() {
    this.#placeMark();
    if (!this.mark.hidden) this.mark.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

const inside = (box, x, y) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top && y <= box.bottom;

/* The index of the last entry whose number is at most `most`; the numbers ascend. */
function lastAtMost(entries, most, numberOf = (each) => each) {
  let low = 0;
  let high = entries.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numberOf(entries[middle]) <= most) low = middle;
    else high = middle - 1;
  }
  return low;
}
