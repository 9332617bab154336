// A conversation with a served model through our own address, and figures that are asked for every few seconds.
"use strict";

for (const place of document.querySelectorAll("[data-renew]")) {
  setInterval(() => {
    if (!document.hidden) document.getElementById(place.id)?.dispatchEvent(new CustomEvent("tx81:renew"));
  }, 1000 * Number(place.dataset.renew));
}

class Chat extends HTMLElement {
  connectedCallback() {
    this.said = []; // messages so far
    this.form = this.querySelector("form");
    this.list = this.querySelector(".chat");
    this.stop = this.querySelector("[data-stop]");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.form.elements.said.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.stop.addEventListener("click", () => this.stopping?.abort());
    this.querySelector("[data-new]").addEventListener("click", () => {
      this.stopping?.abort();
      this.said = [];
      this.list.replaceChildren();
    });
  }

  disconnectedCallback() {
    this.stopping?.abort();
  }

  add(role, text) {
    const entry = document.createElement("article");
    entry.dataset.role = role;
    const place = document.createElement("p");
    place.dir = "auto";
    place.textContent = text; // whatever a model says is text
    const note = document.createElement("small");
    entry.append(place, note);
    this.list.append(entry);
    this.list.scrollTop = this.list.scrollHeight;
    return { place, note };
  }

  async ask() {
    const { said, max_tokens: most } = this.form.elements;
    const text = said.value.trim();
    if (text === "" || this.stopping) return;
    const messages = [...this.said, { role: "user", content: text }];
    this.add("user", text).note.textContent = this.dataset.you;
    said.value = "";
    const { place, note } = this.add("assistant", "");
    note.textContent = `${this.dataset.thinks} …`;
    this.stopping = new AbortController();
    this.stop.hidden = false;
    const began = performance.now();
    let first = null;
    let texts = 0;
    let server = "";
    try {
      const answer = await this.request({ model: this.dataset.model, messages, max_tokens: Number(most.value), stream: true });
      server = answer.headers.get("X-TX81-Job") ?? "";
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      for await (const piece of this.pieces(answer)) {
        first ??= performance.now();
        texts++;
        place.textContent += piece;
        this.list.scrollTop = this.list.scrollHeight;
      }
      this.said = [...messages, { role: "assistant", content: place.textContent }];
    } catch (error) {
      const why = error.name === "AbortError" ? this.dataset.stopped : error instanceof TypeError ? this.dataset.lost : error.message;
      place.textContent += `${place.textContent ? "\n" : ""}✗ ${why}`;
    }
    const parts = server ? [`${this.dataset.by} ${server}`] : [];
    if (first !== null) {
      parts.push(`TTFT ${Math.round(first - began)} ms`);
      if (texts > 1) parts.push(`TPOT ${((performance.now() - first) / (texts - 1)).toFixed(1)} ms`);
    }
    note.textContent = parts.join(" · ");
    this.stopping = null;
    this.stop.hidden = true;
  }

  request(asked) {
    const inherited = JSON.parse(document.body.getAttribute("hx-headers:inherited") ?? "{}");
    const headers = { ...inherited, "Content-Type": "application/json" };
    return fetch("/v1/chat/completions", { method: "POST", headers, body: JSON.stringify(asked), signal: this.stopping.signal });
  }

  async *pieces(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += value;
      const lines = held.split(/\r?\n/);
      held = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new Error(event.error.message);
        const text = event.choices?.[0]?.delta?.content;
        if (text) yield text;
      }
    }
  }
}

customElements.define("tx81-chat", Chat);
