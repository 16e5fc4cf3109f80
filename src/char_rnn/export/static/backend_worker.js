/* The backend of an exported page; the playground's backend_server.js describes the interface. */

const LIMITS = { length: 1_000_000, streams: 4, prime: 100_000 };

/** `description`, `weights` and `program`: contents of the page's elements. */
export function workerBackend(description, weights, program) {
  const { name, facts } = description;
  const waiting = new Map(); // id -> its listener
  let last = 0;
  let worker = null;
  let opened = null;
  const start = () => {
    worker = workerOf(program);
    worker.onmessage = ({ data: { id, event, value } }) => waiting.get(id)?.(event, value);
    worker.onerror = ({ message }) => {
      for (const hear of [...waiting.values()]) hear("error", { message: `The model does not run in this browser: ${message}` });
    };
  };
  /** `hear`: functions by event, for events before the answer. */
  const ask = (what, question, { signal, ...hear } = {}) =>
    new Promise((fulfil, reject) => {
      if (!worker) start();
      last += 1;
      const id = last;
      waiting.set(id, (event, value) => {
        if (event !== "answer" && event !== "error") {
          hear[event]?.(value);
          return;
        }
        waiting.delete(id);
        if (event === "error") reject(new Error(value.message));
        else fulfil(value);
      });
      worker.postMessage({ ...question, id, ask: what });
      signal?.addEventListener("abort", () => {
        waiting.delete(id);
        worker.postMessage({ id, ask: "stop" });
        reject(signal.reason);
      });
    });
  const open = async () => {
    const { symbols } = await ask("open", { description, weights });
    weights = null; // free them: the worker has a copy
    return symbols;
  };
  return {
    async models() {
      opened ??= open();
      const symbols = await opened.catch((error) => {
        opened = null;
        throw error;
      });
      return { models: [{ name, ...facts, symbols }], limits: LIMITS };
    },
    activations: (question) => ask("activations", question),
    states: (question) => ask("states", question),
    cells: (_, { text, onProgress, signal } = {}) => ask("cells", { text }, { signal, progress: onProgress }),
    score: (question) => ask("score", question),
    generate: (asked, { onStart, onCharacters, onDone, onError, signal }) => {
      const request = { ...asked, prime: asked.prime || description.prime };
      const hear = { start: onStart, characters: onCharacters, done: onDone };
      return ask("generate", { request }, { signal, ...hear }).catch(({ message }) => signal?.aborted || onError({ message }));
    },
  };
}

/** A worker that runs a program. Some browsers refuse blob URLs in a sandboxed frame; those get a data URL. */
function workerOf(program) {
  try {
    return new Worker(URL.createObjectURL(new Blob([program], { type: "text/javascript" })));
  } catch {
    return new Worker(`data:text/javascript;charset=utf-8,${encodeURIComponent(program)}`);
  }
}
