// A file on its way to the server, in pieces named by the digest of the whole: after an interruption the same file goes on.
"use strict";

const PIECE = 4 << 20;
const TRIES = 5;
const HASHER = document.currentScript.dataset.worker;

class Refused extends Error {
  constructor(problem) {
    super([problem.field, problem.detail].filter(Boolean).join(": "));
    this.code = problem.code;
  }
}

class Upload extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.bar = this.querySelector("progress");
    this.told = this.querySelector(".upload-told");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.querySelector("[data-stop]").addEventListener("click", () => this.stopping?.abort());
  }

  disconnectedCallback() {
    this.stopping?.abort();
  }

  async begin() {
    const file = this.form.querySelector('[type="file"]').files[0];
    this.stopping = new AbortController();
    this.busy(true);
    try {
      const digest = await this.hash(file);
      await this.send(file, digest);
      this.say(`${this.dataset.storing} …`);
      const made = await this.finish(file, digest);
      this.say(`✓ ${this.dataset.done} ${made.name} ${made.digest}`);
    } catch (error) {
      this.say(error instanceof Refused ? `✗ ${error.message}` : error.name === "AbortError" ? "" : `✗ ${this.dataset.lost}`);
    }
    this.busy(false);
  }

  busy(is) {
    this.bar.hidden = !is;
    this.querySelector("[data-stop]").hidden = !is;
    this.form.querySelector("button:not([data-stop])").disabled = is;
  }

  say(text) {
    this.told.textContent = text;
  }

  show(word, done, size) {
    this.bar.value = size ? (100 * done) / size : 100;
    this.say(`${word} ${Math.floor(this.bar.value)} % · ${(done / 2 ** 20).toFixed(1)} / ${(size / 2 ** 20).toFixed(1)} MiB`);
  }

  hash(file) {
    const worker = new Worker(HASHER);
    return new Promise((resolve, reject) => {
      this.stopping.signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
      worker.onerror = () => reject(new Error("no worker"));
      worker.onmessage = ({ data }) => {
        if (data.digest) resolve(data.digest);
        else if (data.failed) reject(new Refused({ detail: data.failed }));
        else this.show(this.dataset.hashing, data.done, file.size);
      };
      worker.postMessage(file);
    }).finally(() => worker.terminate());
  }

  async call(method, path, body, headers = {}) {
    const inherited = JSON.parse(document.body.getAttribute("hx-headers:inherited") ?? "{}");
    const all = { ...inherited, "Content-Type": "application/json", ...headers };
    const answer = await fetch(`/api/v1/${path}`, { method, body, headers: all, signal: this.stopping.signal });
    if (answer.ok) return answer.json();
    throw new Refused(await answer.json().catch(() => ({ detail: `${answer.status}` })));
  }

  async send(file, digest) {
    const start = () => this.call("POST", "uploads", JSON.stringify({ digest, size: file.size }));
    let at = await start();
    let word = at.offset ? `${this.dataset.resumed} ${(at.offset / 2 ** 20).toFixed(1)} MiB; ${this.dataset.sending}` : this.dataset.sending;
    for (let broken = 0; at.offset < file.size; ) {
      this.show(word, at.offset, file.size);
      try {
        const headers = { "Content-Type": "application/octet-stream", "Upload-Offset": String(at.offset) };
        at = await this.call("PATCH", `uploads/${digest}`, file.slice(at.offset, at.offset + PIECE), headers);
        broken = 0;
      } catch (error) {
        if (error.name === "AbortError" || (error instanceof Refused && error.code !== "wrong_offset")) throw error;
        if (++broken === TRIES) throw error;
        if (!(error instanceof Refused)) await new Promise((resolve) => setTimeout(resolve, 1000 * broken));
        at = await start();
      }
    }
    this.show(word, file.size, file.size);
  }

  finish(file, digest) {
    const said = Object.fromEntries([...new FormData(this.form)].filter(([, value]) => value !== ""));
    if (this.dataset.then === "artifacts/files") said.file_name = file.name;
    return this.call("POST", this.dataset.then, JSON.stringify({ ...said, upload: digest }));
  }
}

customElements.define("tx81-upload", Upload);
