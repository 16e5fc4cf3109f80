/* The API key, if the server wants one: from the address (#key=KEY), from before a reload, or asked for. */

import { make, remember, remembered } from "./dom.js";

let key = takenFromAddress() ?? remembered("key", "sessionStorage");
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
  remember("key", given, "sessionStorage");
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
      remember("key", (key = field.value), "sessionStorage");
      dialog.close("given");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given");
    });
  });
}
