/* One seed at four temperatures, side by side, in columns that take the place of the others for a while. */

import { byId, make, restoreField } from "./dom.js";

const TEMPERATURES = [0.4, 0.7, 1, 1.3];

export class Temperatures {
  constructor(playground) {
    this.playground = playground;
    this.button = byId("temperatures");
    this.button.addEventListener("click", () => (this.before ? this.leave() : this.#enter()));
    playground.on("ready", () => (this.button.hidden = playground.mostColumns < TEMPERATURES.length));
    playground.on("generate", () => (this.written = { prime: byId("prime").value, seed: byId("seed").value }));
    playground.on("leave", () => this.leave());
  }

  #enter() {
    const { playground } = this;
    const { continued, before, active, columns } = playground;
    this.before = { continued, before, active };
    playground.exchange(around(Number(byId("temperature").value)).map((temperature) => this.#column(active.model.name, temperature)));
    this.before.columns = columns;
    this.#press(true);
    playground.generate(true);
  }

  #column(model, temperature) {
    const column = this.playground.newColumn(model);
    column.colours.unit = this.playground.active.colours.unit;
    const keep = make("button", { type: "button", className: "quiet", title: "Continue with this temperature" }, "Keep");
    keep.addEventListener("click", () => this.#keep(temperature));
    column.fix({ temperature, final_temperature: null }, `Temperature ${temperature}`, keep);
    return column;
  }

  /* The same seed writes the same text again. */
  #keep(temperature) {
    this.leave();
    for (const [id, value] of Object.entries({ ...this.written, temperature })) restoreField(byId(id), value);
    if (byId("schedule").checked) byId("schedule").click();
    this.playground.generate(true);
    this.button.focus(); // the one that was clicked is gone
  }

  /** Show the columns before. */
  leave() {
    if (!this.before) return;
    const { playground } = this;
    const { continued, before, active, columns } = this.before;
    this.before = null;
    playground.exchange(columns, active);
    Object.assign(playground, { continued, before });
    playground.restored();
    this.#press(false);
  }

  #press(on) {
    this.button.setAttribute("aria-pressed", on);
    document.documentElement.classList.toggle("comparing", on);
  }
}

/* The four temperatures, the nearest of them replaced by the current one. */
function around(current) {
  const distance = (each) => Math.abs(each - current);
  const nearest = TEMPERATURES.toSorted((one, other) => distance(one) - distance(other))[0];
  return TEMPERATURES.map((each) => (each === nearest ? current : each));
}
