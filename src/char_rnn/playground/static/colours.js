/* The classes that colour a character by a number (style.css), and the legend of each scale. */

const STEPS = 10;
const EXTENTS = [0.1, 0.2, 0.3, 0.5, 0.75, 1];
const BITS = 8;

/** The end of the scale for activations up to `largest`; small activations get a small scale. */
export const extentFor = (largest) => EXTENTS.find((extent) => largest <= extent) ?? Math.ceil(largest);

/** n10 ... n1, "", p1 ... p10. */
export function activationLook(value, extent) {
  const level = Math.round(Math.max(-1, Math.min(1, value / extent)) * STEPS);
  return level < 0 ? `n${-level}` : level > 0 ? `p${level}` : "";
}

/** "", s1 ... s10. */
export function surpriseLook(bits) {
  const level = Math.min(STEPS, Math.round((bits / BITS) * STEPS));
  return level > 0 ? `s${level}` : "";
}

export const bitsOf = (probability) => -Math.log2(Math.max(probability, 1e-30));

/** {classes, ends}: the colours from left to right, and the labels of the left end, the middle and the right end. */
export function legendOf(mode, extent, copiedFrom) {
  if (mode === "copied") return { classes: [], ends: [`Underlined: 20 or more characters that also occur in ${copiedFrom}.`] };
  const levels = Array.from({ length: STEPS }, (_, step) => step + 1);
  const rising = (letter) => levels.map((level) => `${letter}${level}`);
  if (mode === "surprise") return { classes: ["", ...rising("s")], ends: ["0 bits", "", `${BITS} bits`] };
  return { classes: [...rising("n").reverse(), "", ...rising("p")], ends: [`−${extent}`, "0", `+${extent}`] };
}
