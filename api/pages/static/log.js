// A log of any length: windows of lines come as they are scrolled to, and those far away are removed again.
"use strict";

const MOST_CHUNKS = 40; // in the page at once: some 10,000 lines
const FULL = 250; // lines of a chunk to which new ones are added
const NEAR = 1500; // pixels from an end at which more is loaded
const EVERY = 1000; // milliseconds between two looks at a log that grows

class Log extends HTMLElement {
  connectedCallback() {
    this.pinned = !location.hash.startsWith("#L") || !this.closest(".log-page");
    this.busy = Promise.resolve();
    this.learn(this.lastElementChild);
    this.toEnd();
    this.onscroll = () => this.scrolled();
    this.timer = setInterval(() => this.look(), EVERY);
    this.whole = this.closest(".log-page") !== null;
    if (this.whole) new Search(this);
    this.told();
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  get first() {
    return Number(this.firstElementChild.dataset.first);
  }

  get last() {
    return Number(this.lastElementChild.dataset.last);
  }

  learn(chunk) {
    this.total = Number(chunk.dataset.total);
    this.over = "over" in chunk.dataset;
  }

  // One request at a time: where the next one begins depends on what the last one brought.
  once(step) {
    this.busy = this.busy.then(step).catch((error) => this.dispatchEvent(new CustomEvent("trouble", { detail: error })));
    return this.busy;
  }

  async window(asked) {
    const answer = await fetch(`${this.dataset.lines}&${new URLSearchParams(asked)}`);
    if (!answer.ok) throw new Error(answer.statusText || String(answer.status));
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    const chunk = template.content.querySelector(".chunk");
    if (chunk === null) throw new Error("");
    this.learn(chunk);
    return chunk;
  }

  toEnd() {
    if (this.pinned) this.scrollTop = this.scrollHeight;
  }

  scrolled() {
    const left = this.scrollHeight - this.scrollTop - this.clientHeight;
    this.pinned = left < 30 && this.last >= this.total;
    if (this.whole && !this.loading) {
      if (this.scrollTop < NEAR && this.first > 1) this.load(() => this.earlier());
      else if (left < NEAR && this.last < this.total) this.load(() => this.later());
    }
    this.told();
  }

  async load(step) {
    this.loading = true;
    await this.once(step);
    this.loading = false;
  }

  async earlier() {
    if (this.first <= 1) return;
    const chunk = await this.window({ before: this.first });
    const height = this.scrollHeight;
    this.prepend(chunk);
    this.scrollTop += this.scrollHeight - height;
    while (this.children.length > MOST_CHUNKS) this.lastElementChild.remove();
  }

  async later() {
    if (this.last >= this.total) return;
    this.append(await this.window({ from_line: this.last + 1 }));
    this.trimStart();
  }

  trimStart() {
    while (this.children.length > MOST_CHUNKS) {
      const height = this.scrollHeight;
      this.firstElementChild.remove();
      this.scrollTop -= height - this.scrollHeight;
    }
  }

  // What was written since; the last line may have grown too.
  look() {
    if (this.over || document.hidden || this.last < this.total) return;
    this.once(async () => {
      const chunk = await this.window({ from_line: Math.max(this.last, 1), limit: 500 });
      const end = this.lastElementChild;
      if (chunk.children.length === 0) return this.told();
      document.getElementById(`L${chunk.dataset.first}`)?.remove();
      if (end.children.length < FULL) {
        end.append(...chunk.children);
        end.dataset.last = chunk.dataset.last;
      } else this.append(chunk);
      this.trimStart();
      this.toEnd();
      this.told();
    });
  }

  replaceWith_(chunk) {
    this.replaceChildren(chunk);
    this.told();
  }

  // Shows lines `from` to `to`, the first of them in the upper third.
  show(from, to = from) {
    return this.once(async () => {
      this.pinned = false;
      if (from < this.first || from > this.last) {
        this.replaceWith_(await this.window({ from_line: Math.max(1, Math.min(from, this.total) - 60), limit: 300 }));
        if (this.last < this.total) this.append(await this.window({ from_line: this.last + 1 }));
      }
      for (const line of this.querySelectorAll(".chosen")) line.classList.remove("chosen");
      for (let number = from; number <= to; number++) document.getElementById(`L${number}`)?.classList.add("chosen");
      const line = document.getElementById(`L${from}`);
      // Twice: chunks get their true height when they are seen.
      for (let time = 0; line && time < 2; time++) {
        this.scrollTop += line.getBoundingClientRect().top - this.getBoundingClientRect().top - this.clientHeight / 3;
      }
    });
  }

  start() {
    return this.once(async () => {
      this.pinned = false;
      if (this.first > 1) this.replaceWith_(await this.window({ from_line: 1 }));
      this.scrollTop = 0;
    });
  }

  end() {
    return this.once(async () => {
      if (this.last < this.total) this.replaceWith_(await this.window({}));
      this.pinned = true;
      this.toEnd();
    });
  }

  // The number of the first line that is seen.
  get top() {
    const { left, top } = this.getBoundingClientRect();
    const line = document.elementFromPoint(left + 20, top + 8)?.closest(".line");
    return line ? Number(line.id.slice(1)) : this.first;
  }

  told() {
    let nothing = this.querySelector(".nothing");
    if (this.total === 0 && nothing === null) {
      nothing = document.createElement("div");
      nothing.className = "nothing";
      nothing.textContent = this.dataset.empty;
      this.lastElementChild.append(nothing);
    } else if (this.total > 0) nothing?.remove();
    if (this.whole) this.dispatchEvent(new CustomEvent("told"));
  }
}

class Search {
  constructor(log) {
    this.log = log;
    this.form = document.getElementById("log-search");
    this.output = document.getElementById("log-matches");
    this.place = document.getElementById("log-place");
    this.found = null;
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.step(1);
    };
    this.form.oninput = () => (this.found = null);
    this.form.onkeydown = (event) => {
      if (event.key !== "Enter" || !event.shiftKey) return;
      event.preventDefault();
      this.step(-1);
    };
    this.form.onclick = ({ target }) => this.clicked(target);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
      event.preventDefault();
      this.form.elements.q.focus();
    });
    log.addEventListener("click", (event) => this.choose(event));
    log.addEventListener("told", () => this.tell());
    log.addEventListener("trouble", ({ detail }) => (this.output.textContent = `✗ ${detail.message}`));
    addEventListener("hashchange", () => this.fromAddress());
    if (!this.fromAddress() && this.form.elements.q.value) this.step(1);
  }

  clicked(target) {
    const step = target.closest("[data-step='-1']");
    if (step) this.step(-1);
    const go = target.closest("[data-go]")?.dataset.go;
    if (go === "start") this.log.start();
    else if (go === "end") this.log.end();
    else if (go === "error") this.error();
  }

  async ask(path, asked) {
    const given = new URLSearchParams({ attempt: this.form.dataset.attempt, ...asked });
    this.output.textContent = "…";
    const answer = await fetch(`${this.form.dataset.api}/${path}?${given}`);
    const document = await answer.json();
    this.output.textContent = answer.ok ? "" : `✗ ${document.detail}`;
    return answer.ok ? document : null;
  }

  get wanted() {
    const { q, regex, case: differ } = this.form.elements;
    return { q: q.value, ...(regex.checked && { regex: true }), ...(differ.checked && { case: true }) };
  }

  async search(near) {
    this.found = await this.ask("search", { ...this.wanted, near });
    const asked = new URLSearchParams({ attempt: this.form.dataset.attempt, ...this.wanted });
    history.replaceState(null, "", `?${asked}${location.hash}`);
  }

  async step(by) {
    if (!this.form.elements.q.value) return;
    let at = this.at === undefined ? undefined : this.at + by;
    if (this.found === null) {
      const near = this.log.top;
      await this.search(near);
      if (this.found === null) return;
      at = this.found.numbers.findIndex((number) => number >= near);
      if (at < 0) at = 0;
      if (by < 0) at -= 1;
    }
    const { numbers, earlier, matches } = this.found;
    if (at < 0 && earlier > 0) {
      await this.search(numbers[0]);
      return this.show(this.found.numbers.indexOf(numbers[0]) - 1);
    }
    if (at >= numbers.length && earlier + numbers.length < matches) {
      const last = numbers[numbers.length - 1];
      await this.search(last);
      return this.show(this.found.numbers.indexOf(last) + 1);
    }
    this.show(numbers.length ? (at + numbers.length) % numbers.length : -1);
  }

  show(at) {
    const { numbers, earlier, matches, complete } = this.found;
    this.at = at;
    const where = matches ? `${earlier + at + 1} / ${matches}` : this.form.dataset.none;
    this.output.textContent = complete ? where : `${where} ${this.form.dataset.partial}`;
    if (matches) this.go(numbers[at]);
  }

  async error() {
    const found = await this.ask("first-error", {});
    if (found?.number) this.go(found.number);
    else if (found) this.output.textContent = this.form.dataset.noError;
  }

  async go(from, to = from) {
    history.replaceState(null, "", `${location.search}#L${from}${to > from ? `-L${to}` : ""}`);
    await this.log.show(from, to);
  }

  choose(event) {
    const link = event.target.closest(".line > a");
    if (link === null || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const number = Number(link.textContent);
    const other = event.shiftKey ? Number(/^#L(\d+)/.exec(location.hash)?.[1] ?? number) : number;
    const [from, to] = [Math.min(number, other), Math.max(number, other)];
    history.replaceState(null, "", `${location.search}#L${from}${to > from ? `-L${to}` : ""}`);
    for (const line of this.log.querySelectorAll(".chosen")) line.classList.remove("chosen");
    for (let each = from; each <= to; each++) document.getElementById(`L${each}`)?.classList.add("chosen");
  }

  fromAddress() {
    const wanted = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
    if (wanted === null) return false;
    const from = Number(wanted[1]);
    this.log.show(from, Math.min(Number(wanted[2] ?? from), from + 5000));
    return true;
  }

  tell() {
    const { log } = this;
    this.form.querySelector("[data-go=end]").setAttribute("aria-pressed", String(log.pinned && !log.over));
    this.place.textContent = log.total ? `${log.first}–${log.last} / ${log.total}` : "";
  }
}

customElements.define("tx-log", Log);
