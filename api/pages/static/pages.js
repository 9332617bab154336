// What every page does by itself: choices kept in cookies, clocks that go on, and the stream that says what changed.
"use strict";

const SOONEST = 1000; // milliseconds between two renewals of a page, however many events come

document.addEventListener("click", ({ target }) => {
  const choice = target.closest("[data-choose]");
  if (choice === null) return;
  keep(choice.dataset.choose, choice.value);
  location.reload();
});

// ── clocks ──

const ahead = Date.now() - Date.parse(document.body.dataset.now); // of the server's clock

function clock(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function tick() {
  for (const element of document.querySelectorAll("[data-since]")) {
    const seconds = Math.max(0, Math.floor((Date.now() - ahead - Date.parse(element.dataset.since)) / 1000));
    if (element.tagName === "PROGRESS") element.value = seconds;
    else element.textContent = clock(seconds);
  }
}

setInterval(() => document.hidden || tick(), 1000);

// ── what changed ──

let renewed = 0;
let due = null;

function renew() {
  due = null;
  renewed = Date.now();
  document.body.dispatchEvent(new CustomEvent("tx81:changed"));
}

function changed() {
  if (due === null) due = setTimeout(renew, Math.max(0, renewed + SOONEST - Date.now()));
}

function show(connected) {
  const place = document.getElementById("live");
  if (place === null) return;
  const text = connected ? `● ${place.dataset.on}` : `○ ${place.dataset.off}`;
  if (place.textContent !== text) place.textContent = text;
}

function heard(word) {
  show(word !== "lost");
  const shown = document.querySelector("[data-job]")?.dataset.job;
  if (word.job !== undefined && (shown === undefined || Number(shown) === word.job)) changed();
}

function listenAlone(address) {
  // Browsers without shared workers: a stream of this page.
  let stream = null;
  const follow = () => {
    stream?.close();
    stream = document.hidden ? null : new EventSource(address);
    if (stream === null) return;
    stream.onopen = () => heard("open");
    stream.onerror = () => heard("lost");
    stream.onmessage = ({ data }) => data && heard({ job: JSON.parse(data).job_id });
  };
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) changed();
  });
  follow();
}

function listenTogether(script) {
  const { port } = new SharedWorker(script, "tx81-events");
  port.onmessage = ({ data }) => heard(data);
  const tell = () => port.postMessage(document.hidden ? "hidden" : "seen");
  document.addEventListener("visibilitychange", () => {
    tell();
    if (!document.hidden) changed();
  });
  addEventListener("pagehide", () => port.postMessage("gone"));
  addEventListener("pageshow", tell);
  tell();
}

if (document.body.dataset.events) {
  if ("SharedWorker" in window) listenTogether(document.body.dataset.events);
  else listenAlone("/api/v1/events");
}

// ── lists: filters in the address, marked rows ──

document.addEventListener("submit", ({ target }) => {
  if (!target.matches("[data-filter]")) return;
  for (const field of target.elements) field.disabled = field.value === "" && field.name !== "";
});

addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("[data-filter] :disabled")) field.disabled = false;
});

function countMarks() {
  const list = document.querySelector("[data-marks]");
  const shown = list?.querySelector("[data-marked]");
  if (!shown) return;
  const marked = list.querySelectorAll('[name="job"]:checked').length;
  shown.textContent = marked ? `${shown.dataset.some} ${marked}` : shown.dataset.none;
  for (const button of list.querySelectorAll("[data-needs-marks]")) button.disabled = marked === 0;
}

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-mark-all]")) {
    for (const box of document.querySelectorAll('[data-marks] [name="job"]')) box.checked = target.checked;
  }
  countMarks();
});

document.addEventListener("htmx:after:swap", countMarks);
countMarks();

// ── signing in by a link ──

const form = document.getElementById("sign-in");
if (form !== null && location.hash.length > 1) {
  form.elements.code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  form.submit();
}
