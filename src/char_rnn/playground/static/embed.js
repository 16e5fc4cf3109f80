/* ?embed: the page in a frame of another page shows the text, Generate and one cell. */

import { byId, make } from "./dom.js";
import { nameOf, sameUnit } from "./column_colours.js";
import { strongest } from "./found_cells.js";
import { isLink } from "./link.js";

const QUERY = new URLSearchParams(location.search);
const SEARCH = "search"; // a choice of the list of cells
const NOT_HERE = "The address of this frame has an unknown model, cell or setting.";

export const isEmbedded = QUERY.has("embed");

/** Before the links are started: the parameters of the address become one, if there are any. */
export function startEmbed(playground, inspector) {
  const { cells } = inspector;
  document.documentElement.classList.add("embed");
  const select = make("select", { "aria-label": "Colour the text by" });
  const whole = make("a", { target: "_blank", rel: "noopener" }, "Full page");
  byId("write").querySelector(".actions").append(make("span", { ariaHidden: "true" }, "Colour:"), select, whole);
  byId("columns").after(byId("write"));
  const title = document.querySelector("h1");
  byId("status").before(title);
  for (const heard of [title, byId("status")]) heard.classList.add("unseen");

  async function choose(value) {
    const unit = value === SEARCH ? strongest(await cells.found.find(true)) : unitOfChoice(value);
    if (unit) cells.choose(unit);
    else {
      cells.setMode("none");
      inspector.colour();
    }
  }

  select.addEventListener("change", () => choose(select.value));
  for (const event of ["colour", "inspect"]) playground.on(event, () => showCells(select, playground.active, cells));
  playground.on("open", () => {
    const link = linkOf(playground.offer.models);
    if (link) location.replace(link);
  });
  playground.on("ready", () => isLink(location.hash) && !playground.link && playground.active.complain(NOT_HERE));
  playground.on("state", () => (whole.href = location.pathname + playground.link));
  playground.on("end", ([{ model }]) => {
    const isFirst = isLink(location.hash) && cells.mode === "none" && !cells.found.known.has(model.name);
    if (isFirst) choose(SEARCH);
  });
}

/* The link of the parameters; empty without any, and if there is a link. */
function linkOf(models) {
  const { embed, theme, cell, ...given } = Object.fromEntries(QUERY);
  const isAsked = cell !== undefined || Object.keys(given).length;
  if (!isAsked || isLink(location.hash)) return "";
  const { name, suggested_primes: primes } = models.find((model) => model.name === given.model) ?? models[0];
  const seed = Math.floor(Math.random() * 1_000_000);
  const parts = { model: name, prime: primes?.[0] ?? "", seed, ...given, ...(cell !== undefined && { cell }) };
  return `#${new URLSearchParams(parts)}`;
}

const unitOfChoice = (value) => {
  const [layer, index] = value.split(".").map(Number);
  return value && { layer, index };
};

/* List the best cell of each kind, and the chosen one. */
function showCells(select, { model }, cells) {
  const chosen = cells.mode === "cell" ? cells.unit : null;
  const units = new Map();
  for (const unit of cells.found.of(model)) {
    const sentence = cells.found.sentence(unit);
    if (!units.has(sentence)) units.set(sentence, unit);
  }
  if (chosen && ![...units.values()].some((unit) => sameUnit(unit, chosen))) units.set(nameOf(chosen), chosen);
  const choices = [["", "no colours"], ...[...units].map(([name, { layer, index }]) => [`${layer}.${index}`, name])];
  if (!cells.found.known.has(model.name)) choices.push([SEARCH, "find cells"]);
  const shown = JSON.stringify(choices);
  if (select.dataset.shown !== shown) select.replaceChildren(...choices.map(([value, name]) => make("option", { value }, name)));
  select.dataset.shown = shown;
  select.value = chosen ? `${chosen.layer}.${chosen.index}` : "";
}
