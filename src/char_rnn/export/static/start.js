/* Gives the playground's page, in a file that holds a model, the backend that runs it. */

import { workerBackend } from "./backend_worker.js";

function taken(id) {
  const element = document.getElementById(id);
  element.remove();
  return element.textContent;
}

window.charRnnBackend = workerBackend(JSON.parse(taken("model")), taken("weights"), taken("program"));
