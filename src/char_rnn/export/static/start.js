/* Gives the exported page the backend that runs its model. */

import { workerBackend } from "./backend_worker.js";

function taken(id) {
  const element = document.getElementById(id);
  element.remove();
  return element.textContent;
}

window.charRnnBackend = workerBackend(JSON.parse(taken("model")), taken("weights"), taken("program"));
