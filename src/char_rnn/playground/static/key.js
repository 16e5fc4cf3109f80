/* The API key, if the server wants one: from the address (#key=KEY), from before a reload, or asked for. */

import { make } from "./dom.js";

const KEPT = "char-rnn.key";
let key = takenFromAddress() ?? kept();
let asking = null;

/** The key to send; null if there is none. */
export const apiKey = () => key;

/** After the server has refused a key: whether there is another one now. Asks once, however many requests wait. */
export function otherKey(refused) {
  if (key !== refused) return true;
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

function takenFromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const given = parts.get("key");
  if (given === null) return null;
  parts.delete("key"); // a key must not be in a link that someone copies
  const rest = parts.size ? `#${parts}` : "";
  history.replaceState(history.state, "", location.pathname + location.search + rest);
  keep(given);
  return given;
}

function ask() {
  const field = make("input", { type: "password", autocomplete: "current-password", pattern: "[!-~]+", required: true });
  const hint = key === null ? "" : "The server does not accept this key.";
  const form = make(
    "form",
    {},
    make("label", {}, "This server requires an API key", field),
    make("p", { className: "hint" }, hint),
    make("button", { className: "primary" }, "Continue"),
  );
  const dialog = make("dialog", { className: "ask", ariaLabel: "API key" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      keep((key = field.value));
      dialog.close("given");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given");
    });
  });
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep(given) {
  try {
    sessionStorage.setItem(KEPT, given);
  } catch {
    // the key then lasts as long as the page
  }
}
