/* Texts, settings and colours of the page over a reload, in the tab's own storage; a frame without storage goes without. */

import { byId } from "./dom.js";

const KEY = `char-rnn.session:${location.pathname}`;
const CONTROLS = "#write :is(input, textarea), .settings :is(input:not([type=range]), select, textarea)";

/** Keep the columns and the fields; `columns`: [{model, unit, items}]. */
export function keepSession(columns, mode) {
  const fields = [...document.querySelectorAll(CONTROLS)].map((each) => [each.id, isTicked(each) ? each.checked : each.value]);
  const kept = (pack) => columns.map(({ model, unit, items }) => ({ model, unit, items: items.map(pack) }));
  for (const pack of [packed, packedAlone]) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ fields, mode, columns: kept(pack) }));
      return;
    } catch {
      // without a storage, or without room in it: then with less
    }
  }
}

/** {mode, columns} of the page before it was reloaded, its fields put back; null where there was none. */
export function keptSession() {
  let kept;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
  if (!kept) return null;
  for (const [id, value] of kept.fields) putBack(byId(id), value);
  return { mode: kept.mode, columns: kept.columns.map((each) => ({ ...each, items: each.items.map(unpacked) })) };
}

function putBack(control, value) {
  if (!control) return;
  if (isTicked(control)) control.checked = value;
  else control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
  if (isTicked(control)) control.dispatchEvent(new Event("change", { bubbles: true }));
}

const isTicked = ({ type }) => type === "checkbox";

const packed = ({ text, prime, probability, alternatives, model, symbol }) =>
  prime ? text : [text, probability, alternatives, model, symbol];
const packedAlone = ({ text, prime, probability, model, symbol }) => (prime ? text : [text, probability, null, model, symbol]);

function unpacked(item) {
  if (typeof item === "string") return { text: item, prime: true };
  const [text, probability, alternatives, model, symbol] = item.map((each) => each ?? undefined);
  return { text, probability, alternatives, model, symbol };
}
