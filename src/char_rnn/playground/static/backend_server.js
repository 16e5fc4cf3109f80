/*
 * The backend that sends requests to the server, and the interface of all backends.
 *
 * A page with another backend sets `window.charRnnBackend` before app.js runs. All methods are asynchronous:
 *
 *   models() -> {models: [{name, cell, hidden_size, num_layers, parameters, symbols: [text, ...], data, loss, precision,
 *                          temperature: number?,  to begin with
 *                          suggested_primes: [text, ...]?,  without them the page does not write by itself
 *                          copied_from: text?,  the text to find copies in
 *                          learns: boolean?}],  whether a copy can learn from words: the field `learn`, [text, ...], of requests
 *                runs: [name, ...]?, limits: {length, streams, prime, body}}
 *   generate(request, {onStart, onCharacters, onDone, onError, signal})
 *       request: the body of POST /api/generate.
 *       onStart({prime, activations?, substitutions?, normal_form?})  once: the prime as the model read it (`activations` only with `unit`)
 *       onCharacters({text, characters: [...]})    any number of times: new text and its characters, as they were drawn:
 *                                                  {text, probability, alternatives: [[text, probability], ...], activation?, symbol?,
 *                                                  states?: {values: Int8Array, scale}};
 *                                                  `states`, of some characters: the activations of all cells, times 127 / scale;
 *                                                  `symbol`: the drawn symbol, if it differs from `text`: a byte as "\\xE2"
 *       onDone({reason, characters, seconds, writing_seconds?})  or onError({message}), at the end
 *       signal: an AbortSignal; after an abort nothing is called. The promise is always fulfilled at the end.
 *   activations({model, text, layer, unit}) -> {activations: [number, ...]}
 *   score({model, text, alternatives?}) -> {log_probs: [number, ...], next: [[text, probability], ...]?}
 *       `next`: this number of likeliest characters after the text; none after an empty text
 *   states({model, text}) -> {values, scale, characters}: `states` after each of the last `characters` of the text
 *   cells(model, {text?, onProgress?, signal?}) -> {cells: [{tracks, layer, index, correlation}, ...]}
 *       in a text, or in one that the model writes; onProgress(share): if a backend knows how much is done
 *   copied({model, text}) -> {stretches: [[start, end], ...]}  only for models with `copied_from`
 *   training(name, tag?) -> {tag, progress: the answer of GET /api/models/NAME/training}; null if it still has this tag
 *
 * All but `generate` reject with an Error whose message tells a person what to do.
 *
 * An exported page joins these modules into one script: an import is one line, without renaming, from "./file.js", without
 * cycles, and no two modules share a top-level name.
 */

import { apiKey, otherKey } from "./key.js";

export function serverBackend(base = new URL("api/", document.baseURI)) {
  const post = (path, body, signal) =>
    request(new URL(path, base), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  const json = async (response) => (await response).json();
  return {
    models: () => json(request(new URL("models", base))),
    activations: (question) => json(post("activations", question)),
    states: async (question) => withLevels(await json(post("states", question))),
    cells: (model, { text, signal } = {}) => {
      const path = `models/${encodeURIComponent(model)}/cells`;
      return json(text === undefined ? request(new URL(path, base), { signal }) : post(path, { text }, signal));
    },
    copied: (question) => json(post("copied", question)),
    score: (question) => json(post("score", question)),
    training: async (name, tag = "") => {
      const response = await request(new URL(`models/${encodeURIComponent(name)}/training`, base), { headers: { "If-None-Match": tag } });
      return response.status === 304 ? null : { tag: response.headers.get("etag"), progress: await response.json() };
    },
    generate: (body, handlers) => generateOverHttp(() => post("generate", body, handlers.signal), handlers),
  };
}

async function request(url, options = {}) {
  const key = apiKey();
  const headers = key === null ? options.headers : { ...options.headers, Authorization: `Bearer ${key}` };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `char-rnn serve` still running?");
  }
  if (response.status === 401 && (await otherKey(key))) return request(url, options);
  if (!response.ok && response.status !== 304) throw new Error(await refusal(response));
  return response;
}

async function refusal(response) {
  const text = await response.text();
  try {
    const answer = JSON.parse(text);
    return String(answer.message ?? answer.error?.message ?? answer.error ?? answer.detail ?? text);
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}

async function generateOverHttp(open, { onStart, onCharacters, onDone, onError, signal }) {
  const heard = { start: onStart, message: (message) => onCharacters(withStates(message)), done: onDone, error: onError };
  let ended = false;
  try {
    const response = await open();
    for await (const { event, data } of serverSentEvents(response.body)) {
      if (signal?.aborted) return;
      ended ||= event === "done" || event === "error";
      heard[event]?.(JSON.parse(data));
    }
    if (!ended && !signal?.aborted) onError({ message: "The server closed the connection before the end of the text. Try again." });
  } catch (error) {
    if (signal?.aborted) return;
    onError({ message: error instanceof TypeError ? "The connection to the server was lost. Try again." : error.message });
  }
}

/* Decode the 8-bit levels. */
function withLevels(states) {
  const raw = atob(states.values);
  const values = new Int8Array(raw.length);
  for (let place = 0; place < raw.length; place += 1) values[place] = raw.charCodeAt(place); // from() takes ten times as long
  return { ...states, values };
}

function withStates(message) {
  for (const each of message.characters) if (each.states) each.states = withLevels(each.states);
  return message;
}

async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest = (rest + value).replaceAll("\r\n", "\n");
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event.data) yield event;
    }
  }
}

function parseEvent(block) {
  const event = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") event.event = value;
    else if (field === "data") event.data += event.data ? `\n${value}` : value;
  }
  return event;
}
