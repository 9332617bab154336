// The course of a slot's suspicion: a line that steps after each attempt, and the score from which it is quarantined.
"use strict";

class Course extends HTMLElement {
  connectedCallback() {
    const [times, scores] = JSON.parse(this.dataset.points);
    const limit = Number(this.dataset.limit);
    const colour = (name) => {
      this.style.color = `var(--tblr-${name})`; // as the browser resolves it: a canvas knows no variables
      return getComputedStyle(this).color;
    };
    const two = times.length > 1 ? times : [times[0] - 3600, times[0]];
    const data = [two, times.length > 1 ? scores : [scores[0], scores[0]], two.map(() => limit)];
    const line = () => ({ stroke: colour("border-color"), width: 1 });
    const axis = () => ({ stroke: colour("body-color"), grid: line(), ticks: line(), font: "11px sans-serif" });
    const options = {
      width: this.clientWidth - 16,
      height: this.clientHeight - 40,
      legend: { show: true },
      scales: { y: { range: (_, __, most) => [0, Math.max(limit * 1.2, most * 1.1)] } },
      axes: [{ ...axis(), values: this.shown(two) }, axis()],
      series: [
        { label: this.dataset.time, value: (_, at) => (at == null ? "–" : this.moment(at)) },
        { label: this.dataset.name, stroke: colour("blue"), width: 2, paths: uPlot.paths.stepped({ align: 1 }) },
        { label: "≥", stroke: colour("red"), width: 1, dash: [6, 4], points: { show: false } },
      ],
    };
    this.style.color = "";
    this.plot = new uPlot(options, data, this);
    this.resized = new ResizeObserver(() => this.plot.setSize({ width: this.clientWidth - 16, height: options.height }));
    this.resized.observe(this);
  }

  disconnectedCallback() {
    this.resized?.disconnect();
    this.plot?.destroy();
  }

  moment(at) {
    return new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" }).format(at * 1000);
  }

  shown(times) {
    const days = times.at(-1) - times[0] > 2 * 86400;
    const form = new Intl.DateTimeFormat(document.documentElement.lang, days ? { month: "numeric", day: "numeric" } : { timeStyle: "short" });
    return (_, ticks) => ticks.map((at) => form.format(at * 1000));
  }
}

customElements.define("tx81-course", Course);
