/* The training of a run: progress, losses, samples, and the better model that it writes now and then. */

import { byId, grouped, make } from "./dom.js";

const ASK_SOON = 1500; // milliseconds between two questions while the run trains; else, ASK_LATER
const ASK_LATER = 10_000;
const WAITING = "The page can write after the first evaluation of the run.";
const TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

export function startRunProgress(playground) {
  const { backend } = playground;
  let [runs, run, turn, tag, state, newest, timer] = [[]];

  async function ask() {
    clearTimeout(timer);
    if (!run || document.hidden) return;
    const own = (turn = {});
    try {
      const answer = await backend.training(run, tag);
      if (own !== turn) return;
      tag = answer?.tag ?? tag;
      if (answer) await show(answer.progress);
    } catch ({ message }) {
      state = tag = null;
      byId("writes").textContent = message;
    }
    if (own === turn) timer = setTimeout(ask, state === "running" ? ASK_SOON : ASK_LATER);
  }

  function follow(name) {
    if (name === run) return null;
    run = runs.includes(name) ? name : null;
    tag = newest = state = undefined;
    byId("training").hidden = !run;
    return ask();
  }

  async function show(progress) {
    if (state === undefined) byId("training").open = progress.state === "running";
    state = progress.state;
    byId("progress").textContent = wordsOf(progress);
    curve.show(progress);
    showSamples(progress.samples);
    await showModel(progress);
  }

  function showSamples(samples) {
    const list = byId("samples");
    const known = samples.findLastIndex(({ step }) => step === newest) + 1;
    if (!known) list.replaceChildren();
    for (const { step, text } of samples.slice(known)) list.prepend(make("h3", {}, `step ${grouped(step)}`), make("p", {}, text.trim()));
    newest = samples.at(-1)?.step;
  }

  async function showModel({ model, problem }) {
    const known = playground.offer.models.find(({ name }) => name === run);
    const better = known && model && known.step !== model.step;
    const words = model ? `${better ? "Better model:" : "Writes with"} step ${grouped(model.step ?? 0)}${lossOf(model)}` : "";
    byId("writes").textContent = problem ? `${problem}. ${words}` : words;
    byId("writes").classList.toggle("better", Boolean(better));
    if (better) await playground.refresh(run);
    else if (model && !playground.offer.models.length) setTimeout(() => playground.open());
  }

  if (!backend.training) return;
  const curve = new Curve();
  playground.opening.push((offer) => {
    runs = offer.runs ?? [];
    return follow(offer.models[0]?.name ?? runs[0]);
  });
  playground.on("wait", () => playground.say(WAITING));
  playground.on("activate", ({ model }) => follow(model.name));
  document.addEventListener("visibilitychange", ask);
}

const lossOf = ({ loss }) => (loss ? `, validation ${loss.toFixed(3)}` : "");

function wordsOf({ state, step, total_steps: total, epoch, seconds_left: left, best }) {
  const at = `step ${grouped(step)}${total ? ` of ${grouped(total)}` : ""}`;
  const lowest = best ? ` · best at step ${grouped(best.step)}${lossOf(best)}` : "";
  if (state === "finished") return `finished after ${grouped(step)} steps${lowest}`;
  if (state !== "running") return `${state} at ${at}${lowest}`;
  const minutes = Math.round(left / 60);
  return [at, epoch && `epoch ${epoch.toFixed(2)}`, left && (minutes ? `${grouped(minutes)} min left` : `${left} s left`)].filter(Boolean).join(" · ");
}

/** The losses over the steps. The mouse, or a slider as wide as the plot, reads the numbers at a step. */
class Curve {
  constructor() {
    const plot = byId("plot");
    this.slider = byId("at-step");
    this.slider.addEventListener("input", () => this.#read(Number(this.slider.value)));
    plot.addEventListener("pointermove", ({ clientX }) => {
      const { left, width } = plot.getBoundingClientRect();
      this.#read((this.end * (clientX - left)) / width);
    });
    plot.addEventListener("pointerleave", () => this.#read(Infinity));
    this.slider.addEventListener("blur", () => this.#read(Infinity));
    this.step = Infinity; // Infinity: the latest
  }

  show({ train, val, step, total_steps: total }) {
    const end = Math.max(total ?? 0, step, 1);
    Object.assign(this, { end, lines: { training: train, validation: val } });
    const losses = [...train, ...val].map(([, loss]) => loss).sort((one, other) => one - other);
    const [low = 0, high = 1] = [losses[0], losses.at(-1)];
    const most = Math.min(high, low + 3 * (losses[Math.floor(0.75 * losses.length)] - low) || high); // the first losses may be above
    const tick = TICKS.find((each) => most - low < 4 * each) ?? 10;
    const bottom = Math.floor(low / tick) * tick;
    const count = Math.floor((most - bottom) / tick) + 1;
    const y = (loss) => 100 - (100 * (loss - bottom)) / (count * tick);
    for (const [name, points] of Object.entries(this.lines)) {
      byId(`${name}-loss`).setAttribute("points", points.map(([at, loss]) => `${(100 * at) / end} ${y(loss)}`));
    }
    const ticks = Array.from({ length: count + 1 }, (_, place) => bottom + (count - place) * tick);
    byId("ticks").replaceChildren(...ticks.map((each) => make("span", {}, each.toFixed(tick < 0.1 ? 2 : 1))));
    byId("last-step").textContent = `${grouped(end)} steps`;
    this.slider.max = end;
    this.slider.step = Math.ceil(end / 100);
    this.#read(this.step);
  }

  #read(step) {
    this.step = step;
    const told = Object.entries(this.lines).map(([name, points]) => [name, points.findLast(([at]) => at <= step) ?? points[0]]);
    const words = told.filter(([, point]) => point).map(([name, [at, loss]]) => make("span", { className: name }, `${name} ${loss.toFixed(3)}`));
    const at = Math.max(0, ...told.map(([, point]) => point?.[0] ?? 0));
    words.push(make("span", {}, `step ${grouped(at)}`));
    byId("losses").replaceChildren(...words);
    this.slider.ariaValueText = words.map(({ textContent }) => textContent).join(", ");
    byId("mark").hidden = step === Infinity;
    byId("mark").style.left = `${(100 * at) / this.end}%`;
    if (step === Infinity) this.slider.value = at;
  }
}
