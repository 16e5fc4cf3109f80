/*
 * Sampling the next symbol: the functions of char_rnn.sampling.strategies, on arrays of doubles.
 *
 * An excluded symbol has the logit -Infinity.
 */

import { largestOf, softmax } from "./tensors.js";

/** The distribution to draw from. `recent`: recent symbols; `kept`: whether each may be drawn, or null. */
export function probabilitiesOf(logProbs, strategy, recent, kept) {
  let logits = new Float64Array(logProbs);
  if (kept) logits = logits.map((each, symbol) => (kept[symbol] ? each : -Infinity));
  const penalty = strategy.repetition_penalty;
  if (penalty !== 1) for (const symbol of new Set(recent)) logits[symbol] *= penalty;
  logits = withTemperature(logits, strategy.temperature);
  for (const [name, keep] of Object.entries(FILTERS)) {
    if (strategy[name] !== null && strategy[name] !== undefined) logits = keep(logits, strategy[name]);
  }
  return softmax(logits);
}

/** The filters by their options, in the order in which they apply. */
export const FILTERS = {
  top_k: (logits, k) => keepFirst(logits, descending(logits), (_, place) => place < k),
  top_p: (logits, p) => keepUpTo(logits, descending(logits), p),
  min_p: (logits, p) => keepLikely(logits, p),
  typical_p: (logits, p) => keepUpTo(logits, typical(logits), p),
};

/** The temperature for symbol `place` of `length`. */
export function temperatureAt({ temperature, final_temperature }, place, length) {
  if (final_temperature === null || final_temperature === undefined) return temperature;
  const share = length > 1 ? Math.min(place / (length - 1), 1) : 0;
  return (1 - share) * temperature + share * final_temperature;
}

/** An index, drawn with one uniform number; never one of probability 0. */
export function draw(probabilities, uniform) {
  const total = probabilities.reduce((sum, each) => sum + each, 0);
  const target = uniform * total;
  let [reached, last] = [0, -1];
  for (let symbol = 0; symbol < probabilities.length; symbol += 1) {
    if (!probabilities[symbol]) continue;
    reached += probabilities[symbol];
    last = symbol;
    if (reached > target) break;
  }
  return last;
}

/** Indices in descending order of values; a stable sort. */
export function descending(values) {
  return Array.from(values.keys()).sort((one, other) => values[other] - values[one] || one - other);
}

/** The first `count` of `descending`, without a full sort. */
export function highest(values, count) {
  const found = [];
  values.forEach((value, index) => {
    if (found.length === count && !(value > values[found[count - 1]])) return;
    let place = found.length;
    while (place > 0 && value > values[found[place - 1]]) place -= 1;
    found.splice(place, 0, index);
    if (found.length > count) found.pop();
  });
  return found;
}

function withTemperature(logits, temperature) {
  const largest = largestOf(logits);
  if (!Number.isFinite(largest)) {
    throw new Error("No character is left to draw. Allow more characters, or ban fewer.");
  }
  if (temperature > 0) return logits.map((each) => (each - largest) / temperature);
  const first = logits.indexOf(largest);
  return logits.map((_, symbol) => (symbol === first ? 0 : -Infinity));
}

function keepFirst(logits, order, isKept) {
  const result = new Float64Array(logits.length).fill(-Infinity);
  order.forEach((symbol, place) => {
    if (isKept(symbol, place)) result[symbol] = logits[symbol];
  });
  return result;
}

/** Keep the first symbols of an order until they reach `share`; at least one. */
function keepUpTo(logits, order, share) {
  if (share === 1) return logits;
  const probabilities = softmax(logits);
  let before = 0;
  return keepFirst(logits, order, (symbol, place) => {
    const kept = place === 0 || before < share;
    before += probabilities[symbol];
    return kept;
  });
}

function keepLikely(logits, share) {
  const least = largestOf(logits) + Math.log(share);
  return logits.map((each) => (each >= least ? each : -Infinity));
}

/** Indices in ascending distance of information from the entropy. */
function typical(logits) {
  const probabilities = softmax(logits);
  const information = probabilities.map((each) => -Math.log(each));
  const entropy = probabilities.reduce((sum, each, symbol) => (each ? sum + each * information[symbol] : sum), 0);
  return descending(information.map((each) => -Math.abs(each - entropy)));
}
