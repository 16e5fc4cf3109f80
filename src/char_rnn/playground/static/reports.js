/* The status line at the end of a text. */

import { counted, grouped, unitOf } from "./dom.js";

/** A report on columns whose texts have ended. */
export function reportOf(columns) {
  const written = columns.reduce((sum, column) => sum + column.written, 0);
  const outcomes = columns.map(({ outcome }) => outcome);
  const failed = outcomes.filter(({ message }) => message).length;
  const read = grouped(columns[0].limits.prime);
  const shortened = columns.some((column) => column.shortened) ? ` The model read only the last ${read} characters of the earlier text.` : "";
  const unit = columns.every(({ model }) => unitOf(model) === "byte") ? "byte" : "character";
  const count = `${counted(written, unit)}.${shortened}`;
  if (failed && !written) return "No text was written.";
  if (failed === columns.length) return `Failed after ${count}`;
  if (failed) return `Wrote ${count} ${failed} of ${columns.length} models failed.`;
  if (outcomes.some(({ stopped }) => stopped)) return `Stopped after ${count}`;
  if (outcomes.some(({ done }) => done?.reason === "stop")) return `Ended at a stop text after ${count}`;
  return `Wrote ${count}`;
}
