/* Theme and typeface: chosen by the system and the model, or by ?theme= of the address, until a person chooses. */

import { byId, remember, remembered } from "./dom.js";

export function startLooks() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let asked = new URLSearchParams(location.search).get("theme");
  if (!["light", "dark"].includes(asked)) asked = null;
  const chosen = () => asked ?? remembered("theme") ?? document.documentElement.dataset.theme;
  const dark = () => (chosen() ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    if (chosen()) document.documentElement.dataset.theme = chosen();
    byId("dark").setAttribute("aria-pressed", dark());
  };
  byId("dark").addEventListener("click", () => {
    const theme = dark() ? "light" : "dark";
    asked = null;
    document.documentElement.dataset.theme = theme;
    remember("theme", theme);
    show();
  });
  system.addEventListener("change", show);
  show();
  byId("typeface").addEventListener("change", ({ target }) => {
    remember("typeface", target.value);
    for (const set of document.querySelectorAll("[data-typeface]")) set.dataset.typeface = target.value;
  });
}

/** The typeface for a model's text: monospaced for code, unless a person chose another. */
export function typefaceFor({ symbols }) {
  const writesCode = ["{", "_", "="].every((each) => symbols.includes(each));
  return remembered("typeface") ?? (writesCode ? "mono" : "serif");
}

/** Set the typeface of the page. */
export function setTypeface(typeface) {
  document.documentElement.dataset.typeface = typeface;
  document.querySelector(`#typeface input[value=${typeface}]`).checked = true;
}
