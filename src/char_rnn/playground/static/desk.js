/* The desk: buttons, keys, the status line, and a failure to open the page. */

import { byId, enable, grouped, isOn, make } from "./dom.js";

const AT_WORK = ["generate", "add", "colour", "find-cells", "layer", "unit"];

export function startDesk(playground) {
  showOpening(playground);
  listenToButtons(playground);
  listenToKeys(playground);
  playground.on("say", (text) => (byId("status").textContent = text));
  playground.on("state", () => showState(playground));
  playground.on("copy", (column) => copy(playground, column));
}

function showOpening(playground) {
  const enableAll = (on) => {
    for (const id of AT_WORK) byId(id).disabled = !on;
  };
  enableAll(false);
  playground.on("trouble", (message) => {
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => {
      byId("prime").focus();
      byId("trouble").hidden = true;
      playground.open();
    });
    byId("trouble").replaceChildren(make("p", {}, message), again);
    byId("trouble").hidden = false;
  });
  playground.on("ready", () => {
    enableAll(true);
    showState(playground);
    playground.say(`${/Mac|iP/.test(navigator.platform) ? "⌘" : "Ctrl+"}Enter generates, Escape stops.`);
  });
}

function showState({ running, canUndo, canContinue, columns, mostColumns }) {
  enable(byId("stop"), running);
  enable(byId("continue"), canContinue);
  byId("undo").hidden = !canUndo;
  byId("add").disabled = columns.length >= mostColumns;
}

function listenToButtons(playground) {
  byId("generate").addEventListener("click", () => playground.generate());
  byId("seed").addEventListener("keydown", ({ key, ctrlKey, metaKey }) => key === "Enter" && !ctrlKey && !metaKey && playground.generate());
  byId("stop").addEventListener("click", () => playground.stop());
  byId("continue").addEventListener("click", () => isOn(byId("continue")) && playground.continue());
  byId("add").addEventListener("click", () => playground.addColumn().select.focus());
  byId("undo").addEventListener("click", () => {
    playground.undo();
    byId("generate").focus();
  });
}

function listenToKeys(playground) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId(event.shiftKey ? "continue" : "generate").click();
    else if (event.key === "Escape" && playground.running) playground.stop();
    else return;
    event.preventDefault();
  });
}

async function copy(playground, { view }) {
  const text = view.text();
  try {
    await navigator.clipboard.writeText(text);
    playground.say(`Copied ${grouped([...text].length)} characters.`);
  } catch {
    getSelection().selectAllChildren(view.body);
    playground.say("The text is selected. Copy it with the keyboard.");
  }
}
