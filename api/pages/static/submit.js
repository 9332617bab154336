// The form and its YAML: each follows the other, and the API checks both while a person writes.
"use strict";

const PAUSE = 300; // milliseconds without a key before it is checked

class Submit extends HTMLElement {
  connectedCallback() {
    this.text = this.querySelector("#yaml");
    this.told = this.querySelector("#checked");
    this.button = this.querySelector("[data-submit]");
    this.asked = 0;
    this.keys = new Map();
    this.addEventListener("input", ({ target }) => this.soon(target === this.text ? { text: this.text.value } : null));
    this.addEventListener("submit", (event) => event.preventDefault());
    this.text.addEventListener("change", () => this.refill());
    this.button.addEventListener("click", () => this.submit());
    this.check({ text: this.text.value });
  }

  get form() {
    return this.querySelector("form");
  }

  soon(written) {
    clearTimeout(this.due);
    this.pending = () => this.check(written ?? this.filled());
    this.due = setTimeout(this.pending, PAUSE);
  }

  filled() {
    const fields = {};
    for (const [name, value] of new FormData(this.form)) if (value !== "") fields[name] = value;
    return { kind: this.form.dataset.kind, fields };
  }

  async ask(path, written, headers = {}) {
    const inherited = JSON.parse(document.body.getAttribute("hx-headers:inherited") ?? "{}");
    const all = { "Content-Type": "application/json", "HX-Request": "true", ...inherited, ...headers };
    return fetch(path, { method: "POST", headers: all, body: JSON.stringify(written) });
  }

  async check(written) {
    const number = ++this.asked;
    this.pending = null;
    try {
      const answer = await this.ask("/submit/check", written);
      if (number === this.asked) await this.show(answer, "kind" in written);
    } catch {
      if (number === this.asked) this.told.textContent = this.told.dataset.lost;
    }
  }

  async show(answer, renewed) {
    if (!answer.headers.get("content-type")?.startsWith("application/json")) {
      this.told.innerHTML = await answer.text(); // a refusal, rendered and escaped by the server
      return;
    }
    const { text, problems, told } = await answer.json();
    if (renewed) this.text.value = text;
    this.told.innerHTML = told;
    for (const field of this.querySelectorAll("[data-field]")) this.mark(field, problems);
  }

  mark(field, problems) {
    const name = field.dataset.field;
    const wrong = problems.find((each) => each.field === name || each.field.startsWith(`${name}.`));
    const place = field.querySelector("[data-wrong]");
    const untouched = wrong && field.querySelector(`[name="${name}"]`).value === "" && !this.tried;
    place.hidden = !wrong || untouched;
    place.textContent = wrong && !untouched ? `✗ ${wrong.detail}` : "";
    for (const control of field.querySelectorAll("input, select, textarea")) {
      if (wrong && !untouched) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
    if (wrong && !untouched) field.closest("details")?.setAttribute("open", "");
  }

  async refill() {
    const answer = await this.ask("/submit/form", { text: this.text.value });
    if (!answer.ok) return; // no job of a known kind: the check says why
    const form = document.createRange().createContextualFragment(await answer.text());
    this.form.replaceWith(form);
    this.check({ text: this.text.value });
  }

  async submit() {
    clearTimeout(this.due);
    this.tried = true;
    this.button.disabled = true;
    await this.pending?.();
    const text = this.text.value;
    if (!this.keys.has(text)) {
      const random = crypto.getRandomValues(new Uint32Array(4));
      this.keys.set(text, `page-${[...random].map((each) => each.toString(16)).join("")}`);
    }
    try {
      const answer = await this.ask("/submit", { text }, { "Idempotency-Key": this.keys.get(text) });
      if (answer.ok) location.assign((await answer.json()).to);
      else await this.show(answer, false);
    } catch {
      this.told.textContent = this.told.dataset.lost;
    }
    this.button.disabled = false;
  }
}

customElements.define("tx81-submit", Submit);
