/* The elements of a column, and the texts about its model and its prime. */

import { grouped, make, sign } from "./dom.js";

export function columnParts(models) {
  const parts = {
    select: make("select", { "aria-label": "Model" }, ...models.map(({ name }) => make("option", { value: name }, name))),
    facts: make("p", { className: "facts" }),
    copy: make("button", { type: "button", className: "quiet copy" }, "Copy"),
    remove: make("button", { type: "button", className: "quiet remove", "aria-label": "Remove this model" }, "×"),
    pane: make("div", { className: "pane", tabIndex: 0, role: "region" }),
    empty: make("p", { className: "empty" }, "Press Generate to write a text."),
    trouble: make("p", { className: "trouble", role: "alert", hidden: true }),
    note: make("p", { className: "note hint", hidden: true, "aria-live": "polite" }),
    meter: make("span", { className: "meter" }),
    shade: make("span", { className: "shade" }),
    rate: make("span", { className: "rate" }),
  };
  const { select, facts, copy, remove, pane, empty, note, trouble, meter, shade, rate } = parts;
  remove.title = "Remove this model";
  parts.element = make(
    "article",
    { className: "column" },
    make("header", {}, select, copy, remove, facts),
    make("div", { className: "sheet" }, pane, empty),
    note,
    trouble,
    make("footer", {}, meter, shade, rate),
  );
  return parts;
}

/** "LSTM 2 × 128 · 217,000 parameters · tinyshakespeare · loss 1.449". */
export function factsOf({ cell, hidden_size, num_layers, parameters, data, loss, precision }) {
  const facts = [`${cell.toUpperCase()} ${num_layers} × ${hidden_size}`, `${grouped(parameters)} parameters`];
  if (data) facts.push(data);
  if (loss !== null && loss !== undefined) facts.push(`loss ${loss.toFixed(3)}`);
  if (precision && precision !== "float32") facts.push(precision);
  return facts.join(" · ");
}

const MOST_SUBSTITUTIONS = 12; // more are only counted

/** "é replaced by e, 漢 skipped.": how the model read the prime; empty if it read it as given. */
export function readAs({ substitutions, normal_form: form }) {
  const all = substitutions ?? [];
  const told = all.slice(0, MOST_SUBSTITUTIONS).map(([given, read]) => `${signs(given)} ${read ? `replaced by ${signs(read)}` : "skipped"}`);
  if (all.length > told.length) told.push(`${all.length - told.length} more`);
  return [form ? `Converted to the Unicode form ${form}.` : "", told.length ? `${told.join(", ")}.` : ""].join(" ").trim();
}

const signs = (text) => [...text].map(sign).join("");
