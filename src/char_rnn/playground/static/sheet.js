/* On a small screen the inspector is a sheet over the page; elsewhere it stands beside the text. */

import { byId } from "./dom.js";

const SMALL = "(max-width: 759px), (max-height: 500px)"; // as in style.css

export class Sheet {
  /** `onOpen()`: the sheet covers a part of the page from now on. */
  constructor(onOpen) {
    this.onOpen = onOpen;
    byId("inspect").addEventListener("click", () => this.show(!this.isOpen));
  }

  get isOpen() {
    return document.documentElement.classList.contains("with-sheet");
  }

  show(open) {
    document.documentElement.classList.toggle("with-sheet", open);
    byId("inspect").setAttribute("aria-expanded", open);
    if (open) this.onOpen();
  }

  /** Open it where a character has been picked on a small screen. */
  suggest() {
    if (!this.isOpen && matchMedia(SMALL).matches) this.show(true);
  }

  close() {
    this.show(false);
    byId("inspect").focus();
  }
}
