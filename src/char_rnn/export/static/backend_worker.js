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
  const tell = (ask, question, hear) => {
    if (!worker) start();
    last += 1;
    waiting.set(last, hear);
    worker.postMessage({ ...question, id: last, ask });
    return last;
  };
  const ask = (what, question, { onProgress, signal } = {}) =>
    new Promise((fulfil, reject) => {
      const id = tell(what, question, (event, value) => {
        if (event === "progress") {
          onProgress?.(value);
          return;
        }
        waiting.delete(id);
        if (event === "error") reject(new Error(value.message));
        else fulfil(value);
      });
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
    cells: (_, { text, ...listening } = {}) => ask("cells", { text }, listening),
    score: (question) => ask("score", question),
    generate: (asked, handlers) =>
      new Promise((fulfil) => {
        const request = { ...asked, prime: asked.prime || description.prime };
        const end = () => {
          waiting.delete(id);
          fulfil();
        };
        const id = tell("generate", { request }, (event, value) => {
          if (!handlers.signal?.aborted) handlers[HEARD[event]]?.(value);
          if (event === "answer" || event === "error") end();
        });
        handlers.signal?.addEventListener("abort", () => {
          worker.postMessage({ id, ask: "stop" });
          end();
        });
      }),
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

const HEARD = { start: "onStart", characters: "onCharacters", done: "onDone", error: "onError" };
