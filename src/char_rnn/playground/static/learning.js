/* "Learn from my words": the words of a person that a copy of the model learns from before it writes. */

import { byId, counted } from "./dom.js";
import { lastOf } from "./column_colours.js";

const OF_COPY = ["activations", "score", "states"]; // requests that are answered by the copy, with generate

export class Learning {
  constructor(playground) {
    Object.assign(this, { playground, isOwn: false, before: null, earlier: new WeakMap(), known: null });
    playground.backend = this.#teaching(playground.backend);
    byId("prime").addEventListener("input", ({ isTrusted }) => (this.isOwn = isTrusted)); // not filled in by a button or a link
    byId("learn").addEventListener("change", () => this.#show());
    byId("forget").addEventListener("click", () => {
      this.earlier = new WeakMap(); // Undo does not bring them back
      this.#set([]);
      byId("learn").focus();
      playground.say("Forgot your words. The model is as it was.");
    });
    playground.on("ready", () => this.#show());
    playground.on("generate", () => this.#add(byId("prime").value));
    playground.on("begin", () => {
      this.earlier.set(playground.before, this.before ?? playground.learned);
      this.before = null;
    });
    playground.on("undo", (before) => this.#set(this.earlier.get(before) ?? playground.learned));
  }

  get #isOn() {
    return byId("learn").checked && this.playground.offer.models.some(({ learns }) => learns);
  }

  /* The backend, whose requests have the words with them. The status line says that a text waits for a copy to learn. */
  #teaching(backend) {
    const taught = (body) => (this.#isOn && this.playground.learned.length ? { ...body, learn: this.playground.learned } : body);
    const requests = OF_COPY.map((name) => [name, (body, ...rest) => backend[name](taught(body), ...rest)]);
    const generate = (body, on) => {
      const request = taught(body);
      const { learn } = request;
      if (!learn || learn === this.known) return backend.generate(request, on);
      this.playground.say("Learning from your words …");
      const onStart = (start) => {
        this.known = learn;
        this.playground.say("Writing …");
        on.onStart(start);
      };
      return backend.generate(request, { ...on, onStart });
    };
    return { ...backend, ...Object.fromEntries(requests), generate };
  }

  /* Words that continue the last ones, or are a beginning of them, replace them. The oldest are forgotten at the limit. */
  #add(words) {
    const { learned, offer } = this.playground;
    this.before = learned;
    if (!this.#isOn || !this.isOwn || !words.trim()) return;
    const last = learned.at(-1) ?? "";
    const kept = words.startsWith(last) || last.startsWith(words) ? learned.slice(0, -1) : learned;
    const texts = [...kept, lastOf(words, offer.limits.prime)];
    while (sizeOf(texts) > offer.limits.prime) texts.shift();
    this.#set(texts);
  }

  #set(texts) {
    this.playground.learned = texts;
    this.#show();
  }

  #show() {
    const { models } = this.playground.offer;
    byId("learning").hidden = !models.some(({ learns }) => learns);
    const size = this.#isOn ? sizeOf(this.playground.learned) : 0;
    byId("learned").textContent = size ? `learned ${counted(size, "character")}` : "";
    byId("forget").hidden = !size;
  }
}

const sizeOf = (texts) => texts.reduce((sum, text) => sum + [...text].length, 0);
