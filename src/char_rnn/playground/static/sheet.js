/* The inspector: a sheet over the page on a small screen, a panel beside the text elsewhere. */

import { byId } from "./dom.js";

export class Sheet {
  /** `onOpen()`: called when the sheet covers a part of the page. */
  constructor(onOpen) {
    this.onOpen = onOpen;
    byId("inspect").addEventListener("click", () => this.show(!this.isOpen));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !this.isOpen) return;
      event.preventDefault();
      this.close();
    });
  }

  get isOpen() {
    return document.documentElement.classList.contains("with-sheet");
  }

  show(open) {
    document.documentElement.classList.toggle("with-sheet", open);
    byId("inspect").setAttribute("aria-expanded", open);
    if (open) this.onOpen();
  }

  /** Open the sheet if the screen is small, so that there is a button for it. */
  suggest() {
    if (!this.isOpen && byId("inspect").getClientRects().length) this.show(true);
  }

  close() {
    this.show(false);
    byId("inspect").focus();
  }
}
