/* Keeps texts, settings and colours over a reload, in the tab's session storage, if it has one. */

import { byId, isTicked, restoreField } from "./dom.js";
import { isLink } from "./link.js";

const KEY = `char-rnn.session:${location.pathname}`;
const CONTROLS = "#write :is(input, textarea), .settings :is(input:not([type=range]), select, textarea)";

/** Restore the page before a reload when it opens, and store it when it is left. */
export function startSession(playground, { cells }) {
  playground.on("open", () => {
    const session = storedSession();
    if (!session) return;
    playground.link = session.link ?? "";
    playground.continued = session.continued ?? 0;
    playground.learned = session.learned ?? [];
    const isServed = ({ model }) => playground.offer.models.some(({ name }) => name === model);
    for (const { model, unit, ...text } of session.columns.filter(isServed).slice(0, playground.mostColumns)) {
      const column = playground.addColumn(model);
      column.colours.unit = unit;
      column.restore(text);
    }
    cells.setMode(session.mode);
  });
  addEventListener("pagehide", () => {
    playground.emit("leave");
    const columns = playground.columns.map((column) => ({ model: column.model.name, unit: column.colours.unit, ...column.snapshot() }));
    if (columns.length) storeSession(columns, { mode: cells.mode, continued: playground.continued, link: playground.link, learned: playground.learned });
  });
}

/* Store the columns [{model, unit, items, branches}], the fields, and `rest`, an object of numbers and strings. */
function storeSession(columns, rest) {
  const fields = [...document.querySelectorAll(CONTROLS)].map((each) => [each.id, isTicked(each) ? each.checked : each.value]);
  const alone = ({ branches, ...column }) => column;
  const stored = [columns.map((column) => packedColumn(column, packed)), columns.map((column) => packedColumn(column, packedAlone))];
  for (const each of [...stored, stored[1].map(alone)]) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...rest, fields, columns: each }));
      return;
    } catch {
      // no storage, or no room in it: try again with less
    }
  }
}

/* Restore the fields and return {columns, ...rest} of the page before a reload; null if there was none, or the address has another link. */
function storedSession() {
  let session;
  try {
    session = JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
  if (!session || (isLink(location.hash) && location.hash !== session.link)) return null;
  for (const [id, value] of session.fields) restoreField(byId(id), value);
  return { ...session, columns: session.columns.map(unpackedColumn) };
}

/* The texts of other branches are stored from where they differ from the shown one. */
function packedColumn({ items, branches, ...rest }, pack) {
  const texts = [...branches.texts].map(([id, text]) => {
    const other = text.findIndex(({ text: each, alternatives }, place) => each !== items[place]?.text || alternatives !== items[place].alternatives);
    const common = other < 0 ? text.length : other;
    return [id, common, text.slice(common).map(pack)];
  });
  return { ...rest, items: items.map(pack), branches: { ...branches, texts } };
}

function unpackedColumn({ items, branches, ...rest }) {
  const shown = items.map(unpacked);
  const texts = branches?.texts.map(([id, common, tail]) => [id, [...shown.slice(0, common), ...tail.map(unpacked)]]);
  return { ...rest, items: shown, branches: branches && { ...branches, texts } };
}

const packed = ({ text, prime, probability, alternatives, model, symbol }) =>
  prime ? text : [text, probability, alternatives, model, symbol];
const packedAlone = (item) => packed({ ...item, alternatives: null });

function unpacked(item) {
  if (typeof item === "string") return { text: item, prime: true };
  const [text, probability, alternatives, model, symbol] = item.map((each) => each ?? undefined);
  return { text, probability, alternatives, model, symbol };
}
