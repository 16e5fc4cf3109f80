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
    const isServed = ({ model }) => playground.offer.models.some(({ name }) => name === model);
    for (const { model, unit, items } of session.columns.filter(isServed).slice(0, playground.mostColumns)) {
      const column = playground.addColumn(model);
      column.colours.unit = unit;
      column.restore({ items });
    }
    cells.setMode(session.mode);
  });
  addEventListener("pagehide", () => {
    const columns = playground.columns.map(({ model, colours, items }) => ({ model: model.name, unit: colours.unit, items }));
    if (columns.length) storeSession(columns, { mode: cells.mode, continued: playground.continued, link: playground.link });
  });
}

/* Store the columns [{model, unit, items}], the fields, and `rest`, an object of numbers and strings. */
function storeSession(columns, rest) {
  const fields = [...document.querySelectorAll(CONTROLS)].map((each) => [each.id, isTicked(each) ? each.checked : each.value]);
  const stored = (pack) => columns.map(({ model, unit, items }) => ({ model, unit, items: items.map(pack) }));
  for (const pack of [packed, packedAlone]) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...rest, fields, columns: stored(pack) }));
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
  return { ...session, columns: session.columns.map((each) => ({ ...each, items: each.items.map(unpacked) })) };
}

const packed = ({ text, prime, probability, alternatives, model, symbol }) =>
  prime ? text : [text, probability, alternatives, model, symbol];
const packedAlone = ({ text, prime, probability, model, symbol }) => (prime ? text : [text, probability, null, model, symbol]);

function unpacked(item) {
  if (typeof item === "string") return { text: item, prime: true };
  const [text, probability, alternatives, model, symbol] = item.map((each) => each ?? undefined);
  return { text, probability, alternatives, model, symbol };
}
