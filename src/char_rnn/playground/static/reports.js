/* What the status line says at the end of a text. */

import { counted, grouped, unitOf } from "./dom.js";

/** A sentence about columns whose texts have ended. */
export function reportOf(columns) {
  const written = columns.reduce((sum, column) => sum + column.written, 0);
  const outcomes = columns.map(({ outcome }) => outcome);
  const failed = outcomes.filter(({ message }) => message).length;
  const read = grouped(columns[0].limits.prime);
  const shortened = columns.some((column) => column.shortened) ? ` Of what stood before, the last ${read} were read.` : "";
  const unit = columns.every(({ model }) => unitOf(model) === "byte") ? "byte" : "character";
  const count = `${counted(written, unit)}.${shortened}`;
  if (failed && !written) return "Nothing could be written.";
  if (failed === columns.length) return `Broke off after ${count}`;
  if (failed) return `Wrote ${count} ${failed} of ${columns.length} models failed.`;
  if (outcomes.some(({ stopped }) => stopped)) return `Stopped after ${count}`;
  if (outcomes.some(({ done }) => done?.reason === "stop")) return `Ended at a stop text after ${count}`;
  return `Wrote ${count}`;
}
